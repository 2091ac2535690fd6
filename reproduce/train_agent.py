"""A small agent that learns from objects in place of pixels: proximal policy optimisation on an exported model's table.

  python -m reproduce.train_agent --export=FOLDER [--game=SpaceInvaders] [--frames=2000]

A smoke test of the whole chain, from environment to update, and not a result: a few thousand frames teach nobody to
play. The learner is skrl's, in JAX, which comes without gigabytes for accelerators: needs the extra `agents`. Exit
codes: 0 done; 2 bad input (one line on stderr); 130 stopped.
"""

import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import app, flags

from reproduce import atari_environments, exits, startup
from silot_tf.errors import UserError

_EXPORT = flags.DEFINE_string("export", None, "Folder of an exported model.")
_GAME = flags.DEFINE_string("game", "SpaceInvaders", "Any game that comes with ale-py.")
_FRAMES = flags.DEFINE_integer("frames", 2000, "Frames to play, all environments together.", lower_bound=1)
_ENVIRONMENTS = flags.DEFINE_integer("environments", 2, "Games that are played side by side.", lower_bound=1)
_ROLLOUT = flags.DEFINE_integer("rollout", 64, "Frames of each game between updates.", lower_bound=2)
_CROP = flags.DEFINE_list("crop", None, "TOP,LEFT,HEIGHT,WIDTH: the part of frames that the model sees, pixels.")
_RESIZE = flags.DEFINE_bool("resize", False, "Resize frames to what the export takes, if they differ.")
_SEED = flags.DEFINE_integer("seed", 0, "Of games, agent and updates.", lower_bound=0)


def main(_):
    """Train, print."""
    with exits.one_line_errors():
        if not _EXPORT.value:
            raise UserError("--export is missing; expected the folder of an exported model (reproduce.export_model)")
        if _FRAMES.value < _ROLLOUT.value * _ENVIRONMENTS.value:
            raise UserError(
                f"--frames={_FRAMES.value} ends before the first update; expected at least --rollout times "
                f"--environments, {_ROLLOUT.value * _ENVIRONMENTS.value}"
            )
        print("\n".join(_train()))


def _train() -> list[str]:
    startup.start_tensorflow_quietly()
    _import_skrl()
    import gymnasium
    from skrl.agents.jax.ppo import PPO
    from skrl.envs.wrappers.jax import wrap_env
    from skrl.memories.jax import RandomMemory
    from skrl.trainers.jax import SequentialTrainer
    from skrl.utils import set_seed

    from silot_tf.export.agents import VectorObjectObservation
    from silot_tf.export.reading import ExportedModel

    crop = atari_environments.crop_from(_CROP.value)
    set_seed(_SEED.value)
    exported = ExportedModel(_EXPORT.value)
    games = gymnasium.vector.SyncVectorEnv([lambda: atari_environments.make(_GAME.value)] * _ENVIRONMENTS.value)
    scores = gymnasium.wrappers.vector.RecordEpisodeStatistics(games)
    objects = VectorObjectObservation(
        scores, exported, crop=crop, resize=_RESIZE.value, appearance=False, pixels=False, flat=True
    )
    env = wrap_env(objects, wrapper="gymnasium")
    policy, value = _networks(env, exported.num_slots)
    before = [np.array(leaf) for leaf in _leaves(policy)]
    with tempfile.TemporaryDirectory() as folder:
        agent = PPO(
            models={"policy": policy, "value": value},
            memory=RandomMemory(memory_size=_ROLLOUT.value, num_envs=env.num_envs),
            observation_space=env.observation_space,
            action_space=env.action_space,
            cfg={
                "rollouts": _ROLLOUT.value,
                "learning_epochs": 4,
                "mini_batches": 4,
                "learning_rate": 3e-4,
                "entropy_loss_scale": 0.01,
                "rewards_shaper": lambda rewards, *_: np.sign(rewards),
                "experiment": {"directory": folder, "write_interval": 0, "checkpoint_interval": 0},
            },
        )
        steps = _FRAMES.value // env.num_envs
        started = time.monotonic()
        cfg = {"timesteps": steps, "headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
        SequentialTrainer(env=env, agents=agent, cfg=cfg).train()
        seconds = time.monotonic() - started
    moved = max(float(np.abs(a - np.array(b)).max()) for a, b in zip(before, _leaves(policy), strict=True))
    env.close()
    returns, played = [float(score) for score in scores.return_queue], steps * env.num_envs
    score = f", score {np.mean(returns):.0f} on average" if returns else ""
    return [
        f"{played} frames of {_GAME.value} in {seconds:.0f} s ({played / seconds:.1f} frames per second), "
        f"{steps // _ROLLOUT.value} updates; weights of the policy moved by up to {moved:.4f}",
        f"{len(returns)} episodes ended{score}; so short a training shows that all works together, and nothing else",
    ]


def _import_skrl() -> None:
    try:
        import flax  # noqa: F401
        import skrl.agents.jax  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"skrl cannot be imported ({error}); expected the packages of the extra: pip install 'silot_tf[agents]'"
        ) from error


def _networks(env, slots: int):
    """Policy and value: the same small network for every object, the largest of each feature, one more layer."""
    import flax.linen as nn
    import jax.numpy as jnp
    from skrl.models.jax import CategoricalMixin, DeterministicMixin, Model

    def features(observations):
        rows = jnp.reshape(observations, (observations.shape[0], slots, -1))
        each = nn.relu(nn.Dense(64)(nn.relu(nn.Dense(64)(rows))))
        # Slots without an object say nothing.
        pooled = jnp.max(jnp.where(rows[..., :1] > 0, each, 0.0), axis=1)
        return nn.relu(nn.Dense(64)(pooled))

    class Policy(CategoricalMixin, Model):
        def __init__(self, observation_space, action_space, device=None, **kwargs):
            Model.__init__(
                self, observation_space=observation_space, action_space=action_space, device=device, **kwargs
            )
            CategoricalMixin.__init__(self, unnormalized_log_prob=True)

        @nn.compact
        def __call__(self, inputs, role):
            return nn.Dense(self.num_actions)(features(inputs["observations"])), {}

    class Value(DeterministicMixin, Model):
        def __init__(self, observation_space, action_space, device=None, **kwargs):
            Model.__init__(
                self, observation_space=observation_space, action_space=action_space, device=device, **kwargs
            )
            DeterministicMixin.__init__(self)

        @nn.compact
        def __call__(self, inputs, role):
            return nn.Dense(1)(features(inputs["observations"])), {}

    networks = [kind(env.observation_space, env.action_space) for kind in (Policy, Value)]
    for role, network in zip(("policy", "value"), networks, strict=True):
        network.init_state_dict(role=role)
    return networks


def _leaves(network) -> list:
    import jax

    return jax.tree_util.tree_leaves(network.state_dict.params)


if __name__ == "__main__":
    app.run(main)
