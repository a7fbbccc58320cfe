"""Training on a Kubernetes cluster with Kubeflow Trainer, and serving there with KServe."""
