"""Gradient balance in plain NumPy, written from the formulas and nothing else."""

import dataclasses

import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@dataclasses.dataclass
class Balance:
    """The statistic and the balanced loss of softmax cross-entropy with integer labels."""

    num_classes: int
    bins: int = 30
    momentum: float = 0.99
    density_exponent: float = 0.5
    prior_strength: float = 1.0
    max_weight: float | None = 2.0
    noise_exponent: float = 2.0
    label_smoothing: float = 0.02
    noise_rate: float = 0.05

    def __post_init__(self):
        self.histogram = np.zeros((self.num_classes, self.bins))
        self.trusted = np.zeros(self.num_classes)
        self.class_counts = np.zeros(self.num_classes)
        # Plain and balanced, of the batches that a watcher takes in.
        self.watched = np.zeros((2, *self.histogram.shape))
        self.num_watched = 0
        self.num_updates = 0

    def step(self, logits, labels):
        """Mean balanced loss, its gradient with respect to the logits, and the mean base loss."""
        num_samples = len(labels)
        one_hot = np.eye(self.num_classes)[labels]
        self.class_counts += one_hot.sum(axis=0)
        prior = (self.class_counts + 0.5) / (self.class_counts + 0.5).sum()
        class_weights, margin = self._rarity(prior)
        q = softmax(logits + margin)
        gradient = q - one_hot
        norm = 0.5 * np.abs(gradient).sum(axis=1)
        bins = np.minimum(np.floor(norm * self.bins), self.bins - 1).astype(int)
        batch = np.zeros_like(self.histogram)
        for label, index in zip(labels, bins, strict=True):
            batch[label, index] += 1
        self.num_updates += 1
        momentum = min(self.momentum, 1 - 1 / self.num_updates)
        self.histogram = momentum * self.histogram + (1 - momentum) * batch
        trust = self._trust(norm, labels, np.exp(margin))
        sums = np.bincount(labels, trust, self.num_classes)
        self.trusted = momentum * self.trusted + (1 - momentum) * sums
        of_bin = self._density_weights(bins)
        weights = of_bin[bins] * trust * class_weights[labels]
        for label in set(labels):
            # Each class's density weights, and its trust, have mean 1.
            of_class = self.histogram[label]
            mean_density = (of_class * of_bin).sum() / of_class.sum()
            mean_trust = max(self.trusted[label] / of_class.sum(), 0.1)
            if not self.noise_exponent:
                mean_trust = 1.0
            weights[labels == label] /= (mean_density * mean_trust) ** min(self.prior_strength, 1)
        balanced = np.zeros_like(self.histogram)
        for label, index, weight in zip(labels, bins, weights, strict=True):
            balanced[label, index] += weight
        if self.num_watched < 1 / (1 - self.momentum) or self.num_updates % 16 == 0:
            self.num_watched += 1
            momentum = min(self.momentum, 1 - 1 / self.num_watched)
            self.watched = momentum * self.watched + (1 - momentum) * np.stack([batch, balanced])
        loss = -np.log(q[np.arange(num_samples), labels])
        base = -np.log(softmax(logits)[np.arange(num_samples), labels])
        # In the gradient labels are smoothed, as far as the batch is learned.
        learned = max(0.0, 1 - self._mean_norm(batch) / 0.1)
        margin_alone = np.exp(margin) / np.exp(margin).sum()
        smooth = self.label_smoothing * learned * (margin_alone - one_hot)
        gradient = weights[:, None] * (q - (one_hot + smooth)) / num_samples
        return (weights * loss).mean(), gradient, base.mean()

    def _rarity(self, prior):
        """Weight of each class for how rare and unlearned it was, and its margin for the rest."""
        samples = self.histogram.sum(axis=1)
        norms = self.histogram @ (np.arange(self.bins) / self.bins)
        norms = np.where(samples > 0, norms / np.maximum(samples, 1e-30), 1.0)
        exponent = min(0.6 * self.density_exponent, 1) * norms
        if self.noise_exponent:
            exponent *= max(0.0, 1 - self.noise_rate / 0.1)
        weights = prior ** (-min(self.prior_strength, 1) * exponent)
        weights /= (weights * prior).sum()
        return weights, np.log(weights) + self.prior_strength * np.log(prior)

    def _density_weights(self, bins):
        """Weight of each bin that ever had a sample, of mean 1 over those of the batch."""
        density = self.histogram.sum(axis=0)
        exponent = self.density_exponent
        if self.noise_exponent:
            # Bins of norms below 0.1, and below 1/2: at least one each.
            sure, right = (density[: max(1, round(self.bins * norm))].sum() for norm in (0.1, 0.5))
            exponent *= np.clip((sure / right - 0.3) / 0.2, 0, 1) if right else 0.0
        weights = np.zeros(self.bins)
        weights[density > 0] = density[density > 0] ** -exponent
        weights /= weights[bins].mean()
        if self.max_weight is not None:
            weights = np.clip(weights, 1 / self.max_weight, self.max_weight)
            weights /= weights[bins].mean()
        return weights

    def _trust(self, norm, labels, shares):
        """Factor of each sample's weight for wrong labels; the noise rate moves on."""
        if not self.noise_exponent:
            return np.ones(len(labels))
        e, trust, doubts = self.noise_rate, [], []
        for n, label in zip(norm, labels, strict=True):
            prior = shares[label] / shares.sum()
            clean = (1 - e) * (1 - n) / ((1 - e) * (1 - n) + e * prior)
            # The label's probability where each class is divided by its prior, the others as one.
            own, others = (1 - n) / prior, n / (1 - prior)
            balanced = own / (own + (self.num_classes - 1) * others)
            agreement = 0.45 ** (
                min(e / 0.05, 1.0) * np.log(balanced) / np.log(1 / self.num_classes)
            )
            trust.append(max((clean * agreement) ** self.noise_exponent, 0.005))
            doubts.append(1 - clean)
        self.noise_rate = np.clip(e + 0.02 * (np.mean(doubts) - e), 1e-4, 0.5)
        return np.array(trust)

    def _mean_norm(self, histogram):
        """Mean norm, each sample at the lower edge of its bin."""
        samples = histogram.sum(axis=0)
        return (samples * np.arange(self.bins) / self.bins).sum() / samples.sum()


def ghm_c_loss(logits, labels, bins):
    """GHM-C of one batch with a softmax (Li et al. 2019, equations 6 to 9), term by term.

    beta_i = N / GD(g_i) with the gradient density GD counted per unit region, and the loss divided
    by the number of samples and by the number of regions that hold any (as the equation's mean
    over the batch of harmonised parameters, which are to average 1).
    """
    p = softmax(logits)
    g = 1 - p[np.arange(len(labels)), labels]
    region = [min(int(np.floor(x * bins)), bins - 1) for x in g]
    occupied = len(set(region))
    total = 0.0
    for i, label in enumerate(labels):
        density = sum(1 for r in region if r == region[i])
        beta = len(labels) / density / occupied
        total += beta * -np.log(p[i, label])
    return total / len(labels)
