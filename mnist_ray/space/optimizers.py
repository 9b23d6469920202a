"""Keras' optimizers and learning rate schedules: what they are called, and what they take.

Said here since nothing that only reads a search space imports Keras. A test compares the tables
with Keras' own signatures.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class KerasClass:
    """One of Keras' classes, with the names of its arguments."""

    keras_name: str
    required: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.required + self.optional


_OF_ALL_OPTIMIZERS = """\
weight_decay clipnorm clipvalue global_clipnorm use_ema ema_momentum ema_overwrite_frequency
loss_scale_factor gradient_accumulation_steps"""

# A line a class, with the arguments that it alone has. The learning rate is not among them, since
# it stands beside the optimizer.
_OPTIMIZERS = """\
Adam: beta_1 beta_2 epsilon amsgrad
AdamW: beta_1 beta_2 epsilon amsgrad
SGD: momentum nesterov
RMSprop: rho momentum epsilon centered
Adagrad: initial_accumulator_value epsilon
Adadelta: rho epsilon
Adamax: beta_1 beta_2 epsilon
Adafactor: beta_2_decay epsilon_1 epsilon_2 clip_threshold relative_step
Ftrl: learning_rate_power initial_accumulator_value l1_regularization_strength
  l2_regularization_strength l2_shrinkage_regularization_strength beta
Lamb: beta_1 beta_2 epsilon
Lion: beta_1 beta_2
Muon: adam_beta_1 adam_beta_2 adam_weight_decay epsilon exclude_layers exclude_embeddings muon_a
  muon_b muon_c adam_lr_ratio momentum ns_steps nesterov rms_rate
Nadam: beta_1 beta_2 epsilon
ScheduleFreeAdamW: beta_1 beta_2 epsilon warmup_steps"""

# Those before the bar are required.
_SCHEDULES = """\
CosineDecay: initial_learning_rate decay_steps | alpha warmup_target warmup_steps
CosineDecayRestarts: initial_learning_rate first_decay_steps | t_mul m_mul alpha
ExponentialDecay: initial_learning_rate decay_steps decay_rate | staircase
InverseTimeDecay: initial_learning_rate decay_steps decay_rate | staircase
PiecewiseConstantDecay: boundaries values |
PolynomialDecay: initial_learning_rate decay_steps | end_learning_rate power cycle"""

STEPS = frozenset({"decay_steps", "first_decay_steps", "warmup_steps", "boundaries"})
"""Arguments of schedules that count steps."""


def _classes(table: str, *, of_all: str = "") -> dict[str, KerasClass]:
    classes = {}
    for line in table.replace("\n  ", " ").splitlines():
        name, own = line.split(":")
        required, _, optional = own.rpartition("|")
        every = tuple(f"{optional} {of_all}".split())
        classes[name] = KerasClass(name, tuple(required.split()), every)
    return classes


SCHEDULES = _classes(_SCHEDULES)
"""By the names of Keras' classes."""

OPTIMIZERS = {
    name.lower(): each for name, each in _classes(_OPTIMIZERS, of_all=_OF_ALL_OPTIMIZERS).items()
}
"""By the names of Keras' classes in lower-case letters, as Keras' `get` takes them."""
