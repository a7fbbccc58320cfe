"""What hypothesis draws in several tests."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# Some samples of some classes: logits, and their labels.
logits_and_labels = st.integers(2, 6).flatmap(
    lambda classes: st.integers(1, 12).flatmap(
        lambda samples: st.tuples(
            hnp.arrays(np.float32, (samples, classes), elements=st.floats(-20, 20, width=32)),
            hnp.arrays(np.int32, (samples,), elements=st.integers(0, classes - 1)),
        )
    )
)
