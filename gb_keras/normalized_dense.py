"""A classifier whose logits are cosines: no class wins by the length of its weights."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="gb_keras")
class NormalizedDense(keras.layers.Layer):
    """Last layer with logits `scale * cos(x, w_c)`: features and class weights on a sphere.

    In a plain `Dense` classifier the weights of frequent classes grow longer than those of rare
    ones. Here length does not count; a margin in units of the cosine, as that of `LDAMLoss`, then
    means the same for every class. The scale makes up for cosines being within [-1, 1], so that
    the outputs are logits as any other: their softmax is the model's probability.

    Args:
        units: Number of classes.
        scale: Factor from cosines to logits, above 0.
        **kwargs: Name, dtype and the like, as for any Keras layer.

    Raises:
        ValueError: No class, or a scale that is not above 0.

    Example:
        >>> layer = NormalizedDense(2, scale=10.0)
        >>> layer.build((None, 2))
        >>> _ = layer.kernel.assign([[3.0, 0.0], [0.0, 7.0]])
        >>> layer(ops.array([[5.0, 0.0]])).numpy()
        array([[10., 0.]], dtype=float32)

    Reference: The classifier of Cao et al. 2019, arXiv 1906.07413, and its scale of 30.
    """

    def __init__(self, units: int, scale: float = 30.0, **kwargs: Any):
        if units < 1:
            raise ValueError(f"Expected at least one class. Received: units={units!r}")
        if not scale > 0:
            raise ValueError(f"Expected a scale above 0. Received: scale={scale!r}")
        super().__init__(**kwargs)
        self.units = units
        self.scale = scale

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the class weights, `(num_features, units)`."""
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units), initializer="glorot_uniform"
        )

    def call(self, inputs: Any) -> Any:
        """Logits of features.

        Args:
            inputs: Features, `(..., num_features)`.

        Returns:
            Logits, `(..., units)`, in `[-scale, scale]`.
        """
        features = ops.normalize(inputs, axis=-1)
        weights = ops.normalize(ops.convert_to_tensor(self.kernel), axis=0)
        return self.scale * ops.matmul(features, weights)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the logits."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this layer."""
        return {**super().get_config(), "units": self.units, "scale": self.scale}
