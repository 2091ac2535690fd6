"""The face that every video model shows to training, evaluation and export."""

import abc

import keras


class VideoModel(keras.Model, abc.ABC):
    """A recurrent model of videos: `initial_state`, `step` for one frame, `unroll` for clips, `loss_terms`.

    Nothing at frame t depends on later frames unless a model sets `causal = False`. All randomness comes from the
    `seed` argument (two int32) and the frame counter in the state, so unrolling a clip in chunks, or frame by frame,
    with the same seed gives the same result as unrolling it at once.
    """

    causal = True

    #: Whether `edit_state` works: objects can be taken out of the state, or moved in it.
    editable_state = False

    #: Whether `sprites` works: what an object looks like can be decoded without the frame around it.
    has_sprites = False

    #: Whether evaluation tells the model how many objects a clip has: `initial_state(..., object_count=[B] int32)`.
    is_told_count = False

    #: Objects that the state can hold; None where that is not a fixed number.
    num_slots: int | None = None

    #: Names and evaluation values of quantities that a training configuration may anneal over updates.
    annealed_quantities: dict[str, float] = {}  # noqa: RUF012  (overridden whole by each model)

    @abc.abstractmethod
    def initial_state(self, batch_size, crop_offset=None) -> dict:
        """State before the first frame: a nested dictionary of tensors with leading dimension `batch_size`.

        Args:
          batch_size: int or scalar int tensor.
          crop_offset: optional `[B,2]` (y, x) pixel offset of a training crop inside the uncropped frame.
        """

    @abc.abstractmethod
    def unroll(self, video, state=None, *, seed, training=False, rollout_from=None) -> tuple[dict, dict]:
        """Outputs (see `silot_tf.contracts`) for a clip, and the state after its last frame.

        Args:
          video: `[B,T,H,W,C]` float32 in [0, 1]; T is static.
          state: state before the clip; None stands for the initial state.
          seed: `[2]` int32; the same seed serves all chunks of one video. None, outside of training, for no noise: the
            mean stands for every sample.
          training: whether training-time randomness (for example discovery dropout) is on.
          rollout_from: None, or the number of the frame (counted from the initial state) from which on objects come
            from the learned prior without looking at the frames.
        """

    @abc.abstractmethod
    def loss_terms(self, batch, annealed: dict, *, seed) -> tuple[dict, dict]:
        """Unweighted training losses of a batch, name -> `[B,T]` in nats per frame, and the outputs.

        Args:
          batch: see `silot_tf.contracts`.
          annealed: name -> scalar, one entry for each of `annealed_quantities`.
          seed: `[2]` int32.
        """

    def step(self, frame, state, *, seed, training=False, rollout_from=None) -> tuple[dict, dict]:
        """Outputs without the time dimension for one frame `[B,H,W,C]`, and the next state."""
        outputs, state = self.unroll(frame[:, None], state, seed=seed, training=training, rollout_from=rollout_from)
        return keras.tree.map_structure(lambda value: value[:, 0], outputs), state

    def reset(self, state: dict, where) -> dict:
        """State in which the rows with `where [B]` bool are those of the initial state (same crop offset)."""
        initial = self.initial_state(where.shape[0] or keras.ops.shape(where)[0], state.get("crop_offset"))

        def choose(fresh, old):
            mask = keras.ops.reshape(where, [-1] + [1] * (len(old.shape) - 1))
            return keras.ops.where(mask, fresh, old)

        return keras.tree.map_structure(choose, initial, state)

    def edit_state(self, state: dict, frame_shape, *, remove, shift) -> dict:
        """The state with objects taken away or moved, to ask what the learned prior makes of it.

        Models that offer this set `editable_state`. What the model remembers of a moved object besides its place
        (appearance, recurrent state) stays as it is.

        Args:
          state: state after a frame, as `unroll` returns it.
          frame_shape: (H, W) of the frames.
          remove: `[B,K]` bool, slots whose object is taken away.
          shift: `[B,K,2]` float32 (y, x), by how much the object of each slot is moved, in fractions of the frame.
        """
        raise NotImplementedError(f"objects in the state of {type(self).__name__} cannot be edited")

    def sprites(self, what):
        """What objects look like by themselves, before presence and place, and whatever is in front of or behind them.

        Models that offer this set `has_sprites`. It is for pictures, and no part of `outputs`, so that neither training
        nor an exported step carries it.

        Args:
          what: `[..., A]` appearances, as `outputs["objects"]["what"]` of objects that are present; any leading
            axes, but at least one object.

        Returns:
          `[..., h, w, 4]` float32 in [0, 1]: colour (red, green, blue) and opacity; h and w are the decoder's.
        """
        raise NotImplementedError(f"{type(self).__name__} decodes no objects by themselves")

    def bound(
        self,
        video,
        num_particles: int = 1000,
        *,
        seed,
        particles_per_chunk: int | None = None,
        object_count=None,
        frame_mask=None,
    ) -> dict:
        """Importance-weighted bound on the log-likelihood of clips, in chunks of bounded memory; eager only.

        For models with a likelihood and weighted samples ("particles"); others leave it undefined.

        Args:
          video: `[B,T,H,W,C]`.
          num_particles: samples per clip.
          seed: `[2]` int32.
          particles_per_chunk: samples per clip worked on at once; None leaves it to the model.
          object_count: `[B,T]` true numbers of objects, for counting; models without objects ignore it.
          frame_mask: `[B,T]` bool, False for frames that do not count; None for none.

        Returns:
          `[B]` each, in nats per clip: `bound`; averages over particles by weight `log_likelihood` (log p(x|z)) and
          `kl` (log q(z|x) - log p(z)), plain averages `elbo`, `sample_log_likelihood`, `sample_kl`; and
          `effective_sample_size`. Models with objects add, per frame, `objects` and, where numbers are given,
          `count_accuracy`, `count_error`, `sample_count_accuracy`.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no bound on the likelihood of clips")

    def generate(self, batch_size: int, frames: int, frame_shape, *, seed) -> dict:
        """Outputs of clips drawn from the prior, the first frame included.

        Args:
          batch_size: B.
          frames: T.
          frame_shape: (H, W, C).
          seed: `[2]` int32.
        """
        return self.unroll(keras.ops.zeros((batch_size, frames, *frame_shape), "float32"), seed=seed, rollout_from=0)[0]

    def initialize_from_data(self, batches) -> None:
        """Set initial values of weights that come from data; called once, before a training begins.

        Args:
          batches: finite iterable of contract batches.
        """

    def build_variables(self, frame_shape) -> None:
        """Create every variable by one eager pass over a black clip of `frame_shape` (H, W, C)."""
        video = keras.ops.zeros((1, 2, *frame_shape), "float32")
        batch = {"video": video, "frame_mask": keras.ops.ones((1, 2), "bool")}
        annealed = {name: keras.ops.convert_to_tensor(v, "float32") for name, v in self.annealed_quantities.items()}
        self.loss_terms(batch, annealed, seed=keras.ops.convert_to_tensor([0, 0], "int32"))
        self.built = True  # otherwise Keras refuses to load weights

    def call(self, video):
        """Outputs for a whole clip from the initial state, with seed 0; use `unroll` for control over both."""
        return self.unroll(video, seed=keras.ops.convert_to_tensor([0, 0], "int32"))[0]
