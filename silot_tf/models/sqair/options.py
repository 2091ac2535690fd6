"""Checks of the networks' settings: one line each, with the name of the parameter."""

from silot_tf.errors import UserError
from silot_tf.models.sqair import counts
from silot_tf.models.sqair.decoder import DECODERS
from silot_tf.models.sqair.encoders import ENCODERS
from silot_tf.ops import importance

PARTICLE_CHOICES = ("single", "running", "clip")
TOLD = "told"


class NetworkChecks:
    """Checks that raise UserError for values that no network can have.

    Args:
      owner: the gin name of the class whose parameters these are, such as `sqair.SQAIR`.
    """

    def __init__(self, owner: str):
        self.owner = owner

    def require(self, condition, parameter: str, value, expected: str) -> None:
        """Raise UserError, with the parameter's name and what was `expected` of it, unless `condition` holds."""
        if not condition:
            raise UserError(f"{self.owner}.{parameter} is {value!r}; expected {expected}")

    def check_choice(self, parameter: str, value, choices) -> None:
        """`value` must be one of `choices`."""
        self.require(value in choices, parameter, value, f"one of {', '.join(choices)}")

    def check_sizes(self, num_slots, glimpse_shape, units, evaluation_particles) -> None:
        """Parameters of these names, as of `SQAIR`."""
        self.require(num_slots >= 1, "num_slots", num_slots, "at least 1")
        self.require(
            evaluation_particles is None or evaluation_particles >= 1, "evaluation_particles", evaluation_particles,
            "at least 1, or None",
        )  # fmt: skip
        is_shape = len(glimpse_shape) == 2 and min(glimpse_shape) >= 2
        self.require(is_shape, "glimpse_shape", tuple(glimpse_shape), "(rows, columns) of at least 2 pixels each")
        self.require(units >= 2, "units", units, "at least 2")

    def check_objective(self, num_particles, output_std, vimco) -> None:
        """Parameters of these names, as of `SQAIR`."""
        expected = "at least 2, since VIMCO compares particles"
        self.require(num_particles >= 2, "num_particles", num_particles, expected)
        self.require(output_std > 0, "output_std", output_std, "a positive standard deviation")
        self.check_choice("vimco", vimco, importance.FORMS)

    def check_networks(self, encoder, decoder, glimpse_shape) -> None:
        """Parameters of these names, as of `SQAIR`."""
        self.check_choice("encoder", encoder, ENCODERS)
        self.check_choice("decoder", decoder, DECODERS)
        fits = decoder != "convolution" or not any(side % 4 for side in glimpse_shape)
        self.require(fits, "glimpse_shape", tuple(glimpse_shape), "multiples of 4 for decoder = 'convolution'")

    def check_count_prior(self, kind, num_slots: int, success, kinds=counts.KINDS) -> None:
        """`count_prior` must be one of `kinds` or of N + 1 probabilities, `count_success` a probability."""
        expected = f"one of {', '.join(kinds)}, or num_slots + 1 = {num_slots + 1} positive probabilities that sum to 1"
        if isinstance(kind, str):
            self.require(kind in kinds, "count_prior", kind, expected)
            self.require(0.0 < success < 1.0, "count_success", success, "a number between 0 and 1")
        else:
            is_distribution = len(kind) == num_slots + 1 and min(kind) > 0 and abs(sum(kind) - 1) <= 1e-3
            self.require(is_distribution, "count_prior", kind, expected)

    def check_forced_count(self, count, num_slots: int) -> None:
        """`forced_count` must be None, `TOLD` or a number of objects that fit."""
        fits = isinstance(count, int) and 0 <= count <= num_slots
        expected = f"None, '{TOLD}' or a number from 0 to num_slots = {num_slots}; raise num_slots for more"
        self.require(count in (None, TOLD) or fits, "forced_count", count, expected)

    def check_glimpses_fit(self, glimpse_shape, frame_shape) -> None:
        """`glimpse_shape` must not be larger than frames of (H, W, C)."""
        height, width = frame_shape[:2]
        fits = glimpse_shape[0] <= height and glimpse_shape[1] <= width
        self.require(fits, "glimpse_shape", tuple(glimpse_shape), f"at most the frames' {height} x {width} pixels")
