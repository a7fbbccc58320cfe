# The image of the Kubeflow components: gb_keras with its stages, and kfp, which runs them.
#
#   make image    # docker, podman or buildah, whichever is there
#   docker build --tag gb-keras:0.1.0 .
#   docker build --tag gb-keras:0.1.0-gpu --build-arg TENSORFLOW='tensorflow[and-cuda]' .

FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY gb_keras gb_keras
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# Built apart, so that neither pip's leavings nor the wheel are in a layer of the image.
FROM python:3.11-slim AS environment
ARG TENSORFLOW=tensorflow
COPY constraints.txt /
COPY --from=wheel /wheels /wheels
RUN python3 -m venv --without-pip /opt/gb-keras \
    && wheel="$(ls /wheels/gb_keras-*.whl)" \
    && pip --python /opt/gb-keras/bin/python install --no-cache-dir --constraint /constraints.txt \
        "${wheel}[all]" "${TENSORFLOW}" \
    # Headers to build operations with, a seventh of the image.
    && rm -r /opt/gb-keras/lib/python3.11/site-packages/tensorflow/include

# What lists the packages would otherwise be among them.
FROM environment AS bill
RUN python3 -m venv /opt/bill \
    && /opt/bill/bin/pip install --no-cache-dir --constraint /constraints.txt cyclonedx-bom \
    && /opt/bill/bin/cyclonedx-py environment --output-reproducible \
        --output-file /bill-of-materials.cdx.json /opt/gb-keras/bin/python3

FROM python:3.11-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="gb_keras" \
    org.opencontainers.image.description="Multi-class training on gradient balance for Keras" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=environment /opt/gb-keras /opt/gb-keras
COPY --from=bill /bill-of-materials.cdx.json /opt/gb-keras/
ENV PATH=/opt/gb-keras/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2 \
    # A cluster may run the container as any user, who can write nowhere else.
    MPLCONFIGDIR=/tmp/matplotlib
RUN useradd --create-home --uid 1000 gb-keras
# By number, so that Kubernetes can see that it is not root.
USER 1000
WORKDIR /home/gb-keras
# What KFP and a user start must start, as this user.
RUN gb-keras --version && python3 -c "import kfp.dsl.executor_main, gb_keras.stages.train"
# No entry point: KFP's local Docker runner puts its command after one.
CMD ["gb-keras", "--help"]
