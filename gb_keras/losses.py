"""The loss that a user passes to `compile`: any Keras loss over classes, gradient-balanced."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gb_keras import (
    base_loss,
    class_balance,
    density,
    density_weights,
    entries,
    given_losses,
    label_smoothing,
    loss_arguments,
    loss_context,
    margins,
    trust,
    watching,
)


@keras.saving.register_keras_serializable(package="gb_keras")
class GradientBalancedLoss(keras.losses.Loss):
    """Balances any Keras loss over classes by the density of its logit gradients.

    Frequent classes drown rare ones, and the crowd of easy or impossible samples drowns what is
    still worth learning. Both show in the gradient of the loss with respect to the logits, so one
    statistic of it, the joint histogram `H` of classes and gradient norms, answers both:

        loss_i = w(b_i) * t_i * s(y_i) * u(y_i) * base(y_i - f * (y_i - prior), z_i + margin)
        w(m)   = (sum_c H[c, m]) ^ -(k * density_exponent)  scaled to mean 1, capped, scaled again
        k      = 1 where there is a crowd of easy samples, 0 before
        t_i    = max((c_i a_i) ^ noise_exponent, 0.005)
        c_i    = probability that the label is right, given its norm and the noise rate
        a_i    = less than 1 for a label that the model half believes, where some are wrong
        s(c)   = scale with which both w and t have mean 1 over the class
        u(c)   = prior(c) ^ -q(c) scaled to mean 1, with q = 0.6 * density_exponent * mean n of c
                 where few labels are wrong
        f      = label_smoothing * max(0, 1 - mean of n in the batch / 0.1)
        margin = prior_strength * log(class prior) + log(u), which leaves to u its part of the work

    with `z` the logits, `n_i` the gradient norm `||dl/dz||_1 / 2` and `b_i` its bin. The noise rate
    is estimated while training, from the norms alone. The weights are constants in the backward
    pass. Labels are smoothed in the gradient alone: norms, and the value of the loss, are of the
    labels as given. In a `GradientBalancedModel` the statistic runs over all training batches and
    the validation loss is the base loss. In a plain `keras.Model`, or called by itself, the
    statistic is of the batch at hand only, kept nowhere; that is then also how a plain model's
    `val_loss` is computed.

    Where each logit is a sample (multi-label) there is no noise rate and no `f`; a class's margin
    is that of the log odds of the `y'`, and

        loss_ic = w(b_ic) * t_ic * base(y'_ic, z_ic + margin of c)
        w       = as above for negatives, scaled to mean 1 over them; 1 of a positive
        t_ic    = (1 - n_ic) ^ (2 noise_exponent) of a negative, by bin, scaled; 1 of a positive
        y'_ic   = d * prior of a negative, 1 - d / 4 * (1 - prior) of a positive
        d       = 1 - exp(-noise_exponent / 4)

    Corners, with noise exponent 0 and label smoothing 0: density exponent 0 and strength 0 is the
    base loss; density exponent 1, strength 0, momentum 0 and no cap is GHM-C; density exponent 0
    and strength 1 is logit adjustment with counts taken while training.

    Args:
        loss: Name or object of a Keras loss over classes: sparse or categorical cross-entropy,
            their focal relatives, generalised cross-entropy, or `"binary_crossentropy"` for
            multi-label, where each logit is a sample. As in Keras, `from_logits` tells whether
            the model's output is logits; a name means probabilities.
        bins: Number of bins on the gradient norm's range [0, 1], at least 1.
        momentum: Momentum of the running histogram, in [0, 1); 0 forgets all but the last batch.
        density_exponent: How far a crowded bin, and a class that is frequent or learned, is
            weighted down, at least 0.
        prior_strength: Scale of the class margin, at least 0.
        max_weight: Cap of a density weight, at least 1, and one over it the least weight, before
            the second scaling to mean 1: two samples differ by its square at most. None: no cap.
        noise_exponent: How far a sample is weighted down for the probability that its label is
            wrong, at least 0; 0 trusts all labels. Multi-label losses do not estimate that: above 0
            they take no label at its word, and hard negatives least. The density weights of both
            wait until the model is sure of most (positives) that it predicts right.
        label_smoothing: Share of a label that goes to all classes by their prior, in [0, 1), once
            the model has learned all; 0 smooths none. Not used by multi-label losses.
        name: Name of the loss.

    Raises:
        ValueError: An argument out of its range, or a loss without logits.

    Example:
        Three easy samples and a hard one. Balanced, the hard one counts for half of the loss:

        >>> loss = GradientBalancedLoss(
        ...     keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ...     density_exponent=1.0, prior_strength=0.0, max_weight=None, noise_exponent=0.0)
        >>> logits = [[5.0, 0.0], [5.0, 0.0], [5.0, 0.0], [2.0, 0.0]]
        >>> float(loss([0, 0, 0, 1], logits))
        1.0668

    References:
        Gradient balance in multi-class training: patent CN112633359A. Gradient harmonizing: Li,
        Liu, Wang 2019, arXiv 1811.05181. Logit adjustment: Menon et al. 2021, arXiv 2007.07314.
    """

    def __init__(
        self,
        loss: str | keras.losses.Loss | Callable = "sparse_categorical_crossentropy",
        bins: int = 30,
        momentum: float = 0.99,
        density_exponent: float = 0.5,
        prior_strength: float = 1.0,
        max_weight: float | None = 2.0,
        noise_exponent: float = 2.0,
        label_smoothing: float = 0.02,
        name: str = "gradient_balanced_loss",
    ):
        loss_arguments.check(
            bins,
            momentum,
            density_exponent,
            prior_strength,
            max_weight,
            noise_exponent,
            label_smoothing,
        )
        self.base = base_loss.resolve(loss)
        super().__init__(name=name, reduction=self.base.loss.reduction, dtype=self.base.loss.dtype)
        # Python's own numbers, since NumPy's cannot be written into a saved model's JSON.
        self.bins = int(bins)
        self.momentum = float(momentum)
        self.density_exponent = float(density_exponent)
        self.prior_strength = float(prior_strength)
        self.max_weight = None if max_weight is None else float(max_weight)
        self.noise_exponent = float(noise_exponent)
        self.label_smoothing = float(label_smoothing)
        # Keras's own reduction of losses that are computed already.
        self._given = given_losses.GivenLosses(
            name=name, reduction=self.reduction, dtype=self.dtype
        )

    @property
    def estimates_noise(self) -> bool:
        """Whether labels are doubted, by an estimate of the share of wrong ones."""
        return self.noise_exponent > 0 and not self.base.multi_label

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """The balanced loss of a batch, reduced as the base loss would be.

        Args:
            y_true: Labels: integers `(...)` or `(..., 1)`, or one-hot or soft `(..., num_classes)`.
            y_pred: Logits or probabilities, `(..., num_classes)`.
            sample_weight: Optional weights, `(batch_size,)` up to the shape of the losses; for
                multi-label also `(..., num_classes)`, one for each entry. Samples of weight 0 stay
                out of the statistic.

        Raises:
            ValueError: Shapes or labels that do not fit each other.
        """
        y_true, logits, sample_weight, mask = self._checked(y_true, y_pred, sample_weight)
        active = self._active(y_true, sample_weight, mask)
        balancing = loss_context.current()
        if balancing is None:
            alone = loss_context.CurrentBatch(self.base.multi_label)
            losses, _ = self._balanced_losses(y_true, logits, active, alone)
            return self._given.reduce(losses, mask, sample_weight)
        statistic = balancing.statistic(logits.shape[-1])
        if statistic is None:
            losses = base_losses = self.base.of_logits(y_true, logits)
        else:
            losses, base_losses = self._balanced_losses(y_true, logits, active, statistic)
        value = self._given.reduce(losses, mask, sample_weight)
        base_value = (
            value if losses is base_losses else self._given.reduce(base_losses, mask, sample_weight)
        )
        balancing.record_base_loss(base_value, tf.shape(logits)[0])
        return value

    def observe(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        *,
        statistic: loss_context.Statistic,
    ) -> None:
        """Take the statistic of a batch and leave its loss to others.

        Args:
            y_true: As in a call.
            y_pred: As in a call.
            sample_weight: As in a call.
            statistic: What takes the batch in.

        Raises:
            ValueError: Shapes or labels that do not fit each other.
        """
        y_true, logits, sample_weight, mask = self._checked(y_true, y_pred, sample_weight)
        active = self._active(y_true, sample_weight, mask)
        self._balanced_losses(y_true, tf.stop_gradient(logits), active, statistic)

    def _checked(
        self, y_true: Any, y_pred: Any, sample_weight: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
        """Labels, logits, sample weights and mask as tensors whose shapes fit each other."""
        if not tf.is_tensor(y_pred):
            y_pred = tf.convert_to_tensor(y_pred, self.dtype)
        mask = getattr(y_pred, "_keras_mask", None)
        logits = tf.cast(self.base.logits(y_pred), self.dtype)
        y_true = self.base.check_labels(keras.ops.convert_to_tensor(y_true), logits)
        if sample_weight is not None:
            sample_weight = _in_shape_of_losses(
                keras.ops.convert_to_tensor(sample_weight, dtype=self.dtype), logits, self.base
            )
        if mask is not None:
            mask = _in_shape_of_losses(mask, logits, self.base)
        return y_true, logits, sample_weight, mask

    def _balanced_losses(
        self,
        y_true: tf.Tensor,
        logits: tf.Tensor,
        active: tf.Tensor | None,
        statistic: loss_context.Statistic,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Losses times their weights, with the balanced gradient, and the base losses.

        Both in the shape of the losses before reduction.
        """
        balance = self._balanced_entries if self.base.multi_label else self._balanced_samples
        weights, losses, gradient, base_losses = balance(
            y_true, tf.stop_gradient(logits), active, statistic
        )
        weights = tf.cast(weights, self.dtype)
        return given_losses.with_gradient(logits, weights, losses, gradient), base_losses

    def _balanced_samples(
        self,
        y_true: tf.Tensor,
        logits: tf.Tensor,
        active: tf.Tensor | None,
        statistic: loss_context.Statistic,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Weights, losses, their gradient and base losses of samples that have one class each."""
        num_classes = logits.shape[-1]
        rows = base_loss.class_indices(y_true, logits)
        shifted = logits
        margin = exact_margin = counts = None
        if self.prior_strength:
            counts = statistic.counts_with(
                density.count(rows, _as_float(active, rows), num_classes)
            )
            exact_margin = self.margin_in_training(counts, statistic)
            margin = tf.cast(exact_margin, self.dtype)
            shifted += margin

        # Before reduction, sample weights and loss scaling.
        losses, gradient = self.base.losses_and_gradient(y_true, shifted)

        # In range, so that it is the cross-entropy which refuses a wrong label, in its words.
        labels = tf.maximum(rows, 0)
        if self.base.one_label:
            norm = density.one_label_gradient_norm(gradient, labels)
        else:
            norm = density.softmax_gradient_norm(gradient)
        valid = tf.math.is_finite(norm + tf.cast(losses, tf.float32))
        if active is not None:
            valid &= active
        included = tf.cast(valid, tf.float32)
        prior = self._prior(margin, num_classes)
        num_clean = trusted = num_trusted = None
        if self.estimates_noise:
            noise_rate = tf.convert_to_tensor(statistic.noise_rate)
            of_label = tf.gather(prior, labels)
            clean = trust.clean_probability(norm, of_label, noise_rate)
            num_clean = tf.reduce_sum(tf.where(valid, clean, 0.0))
            agreement = trust.agreement_weights(norm, of_label, noise_rate, num_classes)
            trusted = trust.trust_weights(clean * agreement, self.noise_exponent)
            num_trusted = density.count(rows, tf.where(valid, trusted, 0.0), num_classes)
        bins = density.bin_index(tf.where(valid, norm, 0.0), self.bins)
        balance = statistic.update(
            density.count_batch(rows, bins, included, num_classes, self.bins),
            num_active=tf.reduce_sum(_as_float(active, rows)),
            num_clean=num_clean,
            num_trusted=num_trusted,
            num_samples=self._num_samples(rows),
        )
        of_bin = self.bin_weights(balance.density, balance.batch_density)
        weights = tf.gather(of_bin, bins)
        if self.prior_strength:
            # Of each sample's class, not of all, which may be many more.
            weights *= class_balance.class_scales(
                tf.gather(balance.histogram, labels),
                of_bin,
                tf.gather(balance.trusted, labels) if self.estimates_noise else None,
                self.prior_strength,
            )
            if self.density_exponent:
                of_class = class_balance.class_weights(exact_margin, self.class_margin(counts))
                weights *= tf.gather(of_class, labels)
        if trusted is not None:
            weights *= trusted
        # What is not in the statistic keeps its own loss, so that a step with a non-finite loss
        # shows it, as in plain Keras.
        weights = tf.where(valid, weights, 1.0)
        statistic.observe(
            balance.batch_density,
            lambda: watching.Watched(
                mass=watching.class_mass(gradient, rows, norm, included, self.base.one_label),
                cells=tf.reshape(rows * self.bins + bins, [-1]),
                included=tf.reshape(included, [-1]),
                weights=tf.reshape(weights, [-1]),
            ),
        )
        if not self.prior_strength:
            base_losses = losses
        # A margin above the full one would leave rounding alone.
        elif self.base.one_label and self.prior_strength <= 1:
            base_losses = margins.loss_without_margin(losses, gradient, margin, labels)
        else:
            base_losses = self.base.of_logits(y_true, logits)
        if self.label_smoothing:
            mean_norm = density.mean_norm(balance.batch_density)
            share = label_smoothing.smoothing(self.label_smoothing, mean_norm)
            soft = y_true.shape.rank == logits.shape.rank
            smoothed = label_smoothing.smoothed_gradient(
                gradient, y_true if soft else rows, prior, share
            )
            if active is not None:
                smoothed = tf.where(active[..., tf.newaxis], smoothed, gradient)
            gradient = smoothed
        return weights, losses, given_losses.shared(gradient, balance.share), base_losses

    def _balanced_entries(
        self,
        y_true: tf.Tensor,
        logits: tf.Tensor,
        active: tf.Tensor | None,
        statistic: loss_context.Statistic,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """The same of many labels, where each logit is a sample."""
        positive = y_true >= 0.5
        labels = entries.count_labels(positive, active)
        targets, shifted = y_true, logits
        margin = None
        if self.prior_strength or self.noise_exponent:
            counts = statistic.counts_with(tf.reshape(labels, [-1]))
            if self.noise_exponent:
                prior = tf.cast(tf.sigmoid(margins.class_log_odds(counts)), self.dtype)
                doubt = trust.entry_doubt(self.noise_exponent)
                targets = entries.doubted_labels(y_true, prior, doubt)
            if self.prior_strength:
                margin = tf.cast(self.class_margin(counts), self.dtype)
                shifted += margin
        losses, gradient = self.base.losses_and_gradient(targets, shifted)
        norm = density.sigmoid_gradient_norm(gradient)
        found = entries.others(positive, norm, losses, active, self.bins)
        balance = statistic.update(
            entries.count_entries(found, labels, self.bins),
            num_active=tf.reduce_sum(labels),
            num_samples=self._num_samples(logits),
        )
        of_bin = self.bin_weights(balance.density, balance.batch_density)
        if self.noise_exponent:
            trusted = trust.negative_trust(balance.density[0], self.noise_exponent)
            of_bin *= tf.stack([trusted, tf.ones_like(trusted)])
        weights = entries.entry_weights(found, of_bin, norm)
        statistic.observe(
            balance.batch_density,
            lambda: entries.watched(positive, norm, losses, active, weights, self.bins),
        )
        if targets is y_true and margin is None:
            base_losses = losses
        elif self.base.each_label:
            base_losses = entries.base_loss(losses, targets, shifted, y_true, logits, margin)
        else:
            base_losses = self.base.of_logits(y_true, logits)
        return weights, losses, given_losses.shared(gradient, balance.share), base_losses

    def margin_in_training(self, counts: tf.Tensor, statistic: loss_context.Statistic) -> tf.Tensor:
        """What is added to the logits inside of the loss, where weights of classes share its work.

        Args:
            counts: As of `class_margin`.
            statistic: Tells how much of each class is learned, and how many labels are wrong.

        Returns:
            Margins in float32, shaped as those of `class_margin`, and the same where
            `density_exponent` is 0, and with several labels.
        """
        if self.base.multi_label or not (self.density_exponent and self.prior_strength):
            return self.class_margin(counts)
        exponents = class_balance.rarity_exponents(
            statistic.class_norms,
            self.density_exponent,
            statistic.noise_rate if self.estimates_noise else 0.0,
        )
        return margins.shared_margin(counts, self.prior_strength, exponents)

    def class_margin(self, counts: tf.Tensor) -> tf.Tensor:
        """The whole margin of each class, by its count.

        Args:
            counts: Samples seen of each class, float32, `(num_classes,)`; where each logit is a
                sample, its negatives and positives, `(2, num_classes)`.

        Returns:
            Margins in float32, `(num_classes,)`; with several labels the log odds are of the labels
            as they are believed.

        Example:
            >>> loss = GradientBalancedLoss(prior_strength=1.0)
            >>> tf.exp(loss.class_margin(tf.constant([7.5, 1.5]))).numpy().round(3).tolist()
            [0.8, 0.2]
        """
        if not self.base.multi_label:
            return margins.class_margin(counts, self.prior_strength)
        log_odds = margins.class_log_odds(counts)
        if self.noise_exponent:
            log_odds = entries.doubted_log_odds(log_odds, trust.entry_doubt(self.noise_exponent))
        return self.prior_strength * log_odds

    def bin_weights(self, running: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Weights of samples by the density of their bin alone.

        Args:
            running: Number of samples per bin, the current batch among them, `(bins,)`; where each
                logit is a sample, those of negatives and of positives, `(2, bins)`.
            batch: The same of the current batch.

        Returns:
            Weights in float32, same shape.

        Example:
            Eight of nine samples that the model is right about it is sure of; that is a crowd:

            >>> counts = tf.constant([8.0, 0.0, 1.0, 1.0])
            >>> loss = GradientBalancedLoss(bins=4)
            >>> loss.bin_weights(counts, counts).numpy()
            array([0.74279076, 0.50720924, 2.028837  , 2.028837  ], dtype=float32)
        """
        exponent: float | tf.Tensor = self.density_exponent
        if self.density_exponent and self.noise_exponent:
            to_learn = running[1] if self.base.multi_label else running
            exponent *= density_weights.crowding(to_learn)
            if self.base.multi_label:
                # What density would raise are the negatives that are suspected.
                exponent *= tf.square(1.0 - trust.suspicion(running))
        if not self.base.multi_label:
            return density_weights.bin_weights(running, batch, exponent, self.max_weight)
        weights = density_weights.bin_weights(
            tf.reduce_sum(running, axis=0), tf.reduce_sum(batch, axis=0), exponent, self.max_weight
        )
        weights = density_weights.sign_weights(weights, batch, self.prior_strength)
        if self.noise_exponent:
            # Positives are few, and believed: the hardest of them are not to lead the others.
            weights = tf.stack([weights[0], tf.ones_like(weights[1])])
        return weights

    def _num_samples(self, samples: tf.Tensor) -> tf.Tensor | None:
        """How many samples of any kind, where the loss is their mean."""
        is_mean = self.reduction in ("sum_over_batch_size", "mean")
        return tf.cast(tf.size(samples), tf.float32) if is_mean else None

    def _prior(self, margin: tf.Tensor | None, num_classes: int) -> tf.Tensor:
        """Probability that the margin alone gives each class."""
        if margin is None:
            return tf.fill([num_classes], 1.0 / num_classes)
        margin = tf.cast(margin, tf.float32)
        # A full margin is a log probability already.
        return tf.exp(margin) if self.prior_strength == 1 else tf.nn.softmax(margin)

    def _active(
        self, y_true: tf.Tensor, sample_weight: tf.Tensor | None, mask: tf.Tensor | None
    ) -> tf.Tensor | None:
        """Which samples take part in the loss; None for all.

        Not those that are masked, of weight 0, or of the ignored class.
        """
        conditions = []
        if mask is not None:
            conditions.append(tf.cast(mask, tf.bool))
        if sample_weight is not None:
            conditions.append(sample_weight != 0)
        if self.base.ignore_class is not None:
            conditions.append(y_true != self.base.ignore_class)
        return functools.reduce(tf.logical_and, conditions) if conditions else None

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss."""
        return {
            "loss": keras.losses.serialize(self.base.loss),
            "bins": self.bins,
            "momentum": self.momentum,
            "density_exponent": self.density_exponent,
            "prior_strength": self.prior_strength,
            "max_weight": self.max_weight,
            "noise_exponent": self.noise_exponent,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GradientBalancedLoss":
        """Rebuild a loss from `get_config`."""
        base = keras.saving.deserialize_keras_object(config["loss"])
        # A model that was saved before labels were smoothed has this instead.
        kept = {name: value for name, value in config.items() if name != "norm_floor"}
        return cls(**{**kept, "loss": base})


def _as_float(active: tf.Tensor | None, rows: tf.Tensor) -> tf.Tensor:
    """1 for samples that take part in the loss, 0 for others, in the shape of `rows`."""
    return tf.ones_like(rows, tf.float32) if active is None else tf.cast(active, tf.float32)


def _in_shape_of_losses(
    values: tf.Tensor, logits: tf.Tensor, base: base_loss.BaseLoss
) -> tf.Tensor:
    """Weights or masks in the shape of the losses, broadcast from the left."""
    rank = logits.shape.rank if base.multi_label else logits.shape.rank - 1
    if values.shape.rank == rank + 1 and values.shape[-1] == 1:
        values = tf.squeeze(values, axis=-1)
    if values.shape.rank > rank:
        raise ValueError(
            f"Expected sample weights with at most {rank} axes for outputs of shape "
            f"{tuple(logits.shape)}. Received shape {tuple(values.shape)}."
        )
    while values.shape.rank < rank:
        values = values[..., tf.newaxis]
    return tf.broadcast_to(values, tf.shape(logits)[:rank])
