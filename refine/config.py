"""Configuration of the refinement stages. Keys that are TRL's bear TRL's names and meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ..config import Section

REASONED_TOKENS = 64  # a C-CoT and a plan have no fewer
HeadWeight = Annotated[float, Field(ge=0, le=1000)] | Literal["balanced"]
DpoLoss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]  # TRL's names


class TrainerConfig(Section):
    """What every gradient stage has."""

    enabled: bool = Field(True, description="run this stage")
    max_steps: int = Field(40, ge=1, le=1_000_000, description="optimiser steps")
    per_device_train_batch_size: int = Field(32, ge=1, le=4096, description="rows of a step on one device")
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=1024, description="for backbones that fill the memory"
    )
    learning_rate: float = Field(
        5e-4, gt=0, lt=1, description="peak; a fresh tiny policy bears 2e-3, LoRA wants 2e-5"
    )
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = Field(
        "cosine", description="falls to zero, so that a short round ends calmly"
    )
    warmup_share: float = Field(
        0.1, ge=0, lt=1, description="share of the steps over which the rate rises from zero"
    )
    weight_decay: float = Field(0.0, ge=0, lt=1, description="AdamW's; a short round needs none")
    max_grad_norm: float = Field(1.0, gt=0, le=1000, description="one hard batch must not undo the others")
    tower_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the rate that the vision tower gets; 0 freezes it: driving alone unlearns it to see",
    )
    head_weight: HeadWeight = Field(
        20.0,
        description="alpha of SafeAlign eq. 4, 0 to 1000: lifts the head's loss (0.01 to 0.1) to the size of the text's "
        "(1 to 2); `balanced` takes the ratio of both gradients in the last layer that they share",
    )
    save_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="steps between two checkpoints; 0 writes one a minute, so that a short stage writes none",
    )

    @property
    def trains_head(self) -> bool:
        """Whether the head's loss takes part."""
        return self.head_weight == "balanced" or self.head_weight > 0


class LoraSettings(Section):
    """Adapters for backbones that are too large to train in full."""

    use: Literal["auto", "always", "never"] = Field(
        "auto", description="auto: above `above_params` parameters"
    )
    above_params: int = Field(
        50_000_000, ge=0, description="below, full fine-tuning is cheaper and learns more"
    )
    rank: int = Field(64, ge=1, le=1024, description="SafeAlign App. A.1")
    alpha: int = Field(128, ge=1, le=4096, description="twice the rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="rounds are too short to overfit an adapter")


class SftConfig(TrainerConfig):
    """Imitation: recoveries and corrections with replay."""

    replay_share: float = Field(
        0.5, ge=0, le=1, description="rows from uneventful drives: nominal driving is kept"
    )
    reason_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="rows that answer with the C-CoT first; text costs steps, the plan drives",
    )
    negative_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="negative-enhanced prompts among takeover rows of stage 2 (proof.md 19), exact in every batch; 1 with "
        "replay_share 0.5 is SafeAlign's mix",
    )
    negative_from: float = Field(
        0.5, ge=0, le=1, description="share of the steps before stage 2 of the curriculum"
    )


class DpoConfig(TrainerConfig):
    """Preference of the driver's plan over the policy's."""

    max_steps: int = Field(24, ge=1, le=1_000_000, description="more steps widen margins, not driving")
    per_device_train_batch_size: int = Field(8, ge=2, le=4096, description="pairs of a step")
    learning_rate: float = Field(
        5e-5, gt=0, lt=1, description="a tenth of the SFT stage's: at 2e-4 everyday turns were lost"
    )
    beta: float = Field(0.1, gt=0, le=10, description="strength of the pull to the reference")
    loss_type: tuple[DpoLoss, ...] = Field(
        ("sigmoid", "sft"), min_length=1, description="sigmoid alone destroys a small policy"
    )
    loss_weights: tuple[float, ...] = Field((0.1, 1.0), description="the SFT term carries the learning")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="share of wrong preferences, for robust and exo_pair"
    )
    f_divergence_type: Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"] = Field(
        "reverse_kl", description="pull to the reference, for losses of the reward difference"
    )
    f_alpha_divergence_coef: float = Field(0.5, gt=0, le=10, description="of alpha_divergence")
    ld_alpha: float | None = Field(
        None, ge=0, le=1, description="weight of the longer answer's surplus; null counts it in full"
    )
    use_weighting: bool = Field(False, description="WPO: weight pairs by the policy's own probability")
    discopop_tau: float = Field(0.05, gt=0, le=10, description="temperature of discopop")
    takeover_share: float = Field(
        0.5,
        ge=0,
        le=0.5,
        description="takeover pairs of a batch; above one half the policy forgets (proof.md 19)",
    )
    hard_first: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the steps over which the pool grows from the hardest quarter of the pairs (close but unsafe) "
        "to all; 0 draws from all at once",
    )

    @model_validator(mode="before")
    @classmethod
    def _out_of_reach(cls, data: Any) -> Any:
        for key in sorted(DPO_FIXED.keys() & set(data if isinstance(data, dict) else ())):
            raise ValueError(f"TRL's {key} cannot be set: {DPO_FIXED[key]}")
        return data

    @model_validator(mode="after")
    def _one_weight_each(self) -> DpoConfig:
        if len(self.loss_type) != len(self.loss_weights):
            raise ValueError(f"{len(self.loss_type)} loss_type need as many loss_weights")
        if self.use_weighting and "sft" in self.loss_type:
            raise ValueError("TRL cannot weigh the sft term: use_weighting needs other loss_type")
        return self


DPO_FIXED = {
    "max_length": "a cut would take image tokens away",
    "truncation_mode": "nothing is cut",
    "padding_free": "pictures and text are padded together",
    "precompute_ref_log_probs": "TRL refuses it with pictures",
    "sync_ref_model": "the reference is the champion, and checkpoints do not hold a moving one",
    "ref_model_mixup_alpha": "the reference does not move",
    "ref_model_sync_steps": "the reference does not move",
}  # keys of TRL's DPOConfig with one right value here


class KtoConfig(TrainerConfig):
    """Plans without a partner: the driver's are desirable, failed ones undesirable (KTO; APO's unpaired loss)."""

    enabled: bool = Field(False, description="run this stage; off until closed-loop figures ask for it")
    max_steps: int = Field(16, ge=1, le=1_000_000, description="as short as DPO: the same kind of gradient")
    per_device_train_batch_size: int = Field(
        8, ge=4, le=4096, description="rows of a step; TRL's estimate of the KL needs several"
    )
    learning_rate: float = Field(2e-4, gt=0, lt=1, description="as DPO's")
    beta: float = Field(0.1, gt=0, le=10, description="strength of the pull to the reference")
    loss_type: Literal["kto", "apo_zero_unpaired"] = Field(
        "kto", description="TRL's names; the second for a policy that is worse than what is desirable"
    )
    desirable_weight: float = Field(1.0, ge=0, le=100, description="TRL's lambda_D")
    undesirable_weight: float = Field(1.0, ge=0, le=100, description="TRL's lambda_U")
    undesirable_share: float = Field(
        0.25, gt=0, le=0.5, description="rows of a batch; more of them only teach what not to do"
    )
    replay_share: float = Field(
        0.5, ge=0, lt=1, description="rows of a batch from uneventful drives, desirable too (proof.md 19)"
    )

    @model_validator(mode="after")
    def _whole_batch(self) -> KtoConfig:
        if self.undesirable_share + self.replay_share > 1.0:
            raise ValueError("undesirable_share and replay_share are more than the batch")
        return self


class GrpoConfig(TrainerConfig):
    """Group-relative policy gradient on the tokens, with corrected plans and both anchors in the group."""

    max_steps: int = Field(8, ge=1, le=1_000_000, description="few: the gradient is noisy")
    per_device_train_batch_size: int = Field(
        18, ge=4, le=4096, description="completions of a step, corrected ones and anchors included"
    )
    learning_rate: float = Field(1e-5, gt=0, lt=1, description="1e-4 made strong policies worse")
    beta: float = Field(0.0, ge=0, le=10, description="KL to the start; needs a second model")
    num_generations: int = Field(
        9, ge=4, le=256, description="rows of a group: N = 6 samples, K = 1 corrected plan, both anchors"
    )
    temperature: float = Field(1.0, gt=0, le=5, description="exploration")
    max_completion_length: int = Field(
        10, ge=9, le=1024, description="8 action tokens, the end and one to spare"
    )
    reason: bool = Field(
        False,
        description="ask for the C-CoT before the plan; only then can agreement be rewarded (feedback must be 0)",
    )
    variant: Literal["published", "directional"] = Field(
        "directional",
        description="reward and advantages as in the paper (pairs with a scene only), or repaired",
    )
    anchors: bool = Field(True, description="inject both anchors")
    feedback: int = Field(
        1, ge=0, le=64, description="K: places for corrected plans, empty ones count nowhere; 0: no feedback"
    )
    feedback_tries: int = Field(
        4, ge=1, le=256, description="corrected plans that are tried; the first K better ones are kept"
    )
    threshold: float = Field(
        0.6,
        ge=0,
        le=1,
        description="delta on eq. 11: below this best reward a scene is refined; `directional` recalibrates it",
    )
    policy_shaping: bool = Field(
        True, description="ELF-VLA's f = pi / (pi + gamma) instead of the ratio on injected rows"
    )
    shaping_gamma: float = Field(0.1, gt=0, le=1, description="gamma of f, ELF-VLA's value")
    format_weight: float = Field(
        0.1, ge=0, le=10, description="a well-formed answer: half for the plan, half for the words before it"
    )
    agreement_weight: float = Field(
        0.1, ge=0, le=10, description="the plan does what the answer's meta-actions say"
    )
    negative_weight: float = Field(
        0.2, ge=0, le=10, description="SpanVLA's w_N, on negatives alone (its value is not published)"
    )
    recovery_weight: float = Field(
        0.2, ge=0, le=10, description="SpanVLA's w_R, on recoveries alone (its value is not published)"
    )
    radius_m: float = Field(
        2.0, gt=0, le=50, description="mean distance beyond which neither of the two is felt (not published)"
    )
    takeover_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="takeover scenes, half negative and half recovery: 75/12.5/12.5 of SpanVLA",
    )

    @property
    def injected(self) -> int:
        """Rows of a takeover's group that are not sampled from the prompt that drives."""
        return self.feedback + (2 if self.anchors else 0)

    @model_validator(mode="after")
    def _enough_samples(self) -> GrpoConfig:
        if self.num_generations - self.injected < 2:
            raise ValueError(
                f"num_generations {self.num_generations} leaves fewer than 2 samples beside {self.injected} "
                "injected rows"
            )
        if self.reason and self.feedback:
            raise ValueError(
                "a correction prompt asks for a plan without words: with reason, set feedback to 0"
            )
        if self.reason and self.max_completion_length < REASONED_TOKENS:
            raise ValueError(f"reason needs a max_completion_length of at least {REASONED_TOKENS}")
        return self


class AnchorConfig(Section):
    """SafeAlign Algorithm 2 on the `mlp` head, backbone frozen."""

    enabled: bool = Field(True, description="run this stage")
    variant: Literal["published", "directional"] = Field(
        "directional", description="the paper to the letter, or with its faults a to g repaired"
    )
    epochs: int = Field(
        4, ge=1, le=1000, description="the paper takes 10; more of them undo what the refit has kept"
    )
    per_device_train_batch_size: int = Field(32, ge=1, le=4096, description="scenes of a step")
    learning_rate: float = Field(
        1e-4, gt=0, lt=1, description="the paper's, whose head takes many more steps"
    )
    samples: int = Field(6, ge=2, le=256, description="N")
    sigma: float = Field(
        0.3,
        gt=0,
        le=10,
        description="feature noise in standard deviations of the features (not given in the paper)",
    )
    feedback: int = Field(2, ge=0, le=64, description="K corrected samples; 0 switches the refinement off")
    feedback_tries: int = Field(
        4, ge=1, le=256, description="corrected samples that are tried; the first K better ones are kept"
    )
    feedback_every: int = Field(
        4,
        ge=0,
        le=1000,
        description="epochs between two analyses, the dear part; 0, and always in `published`: one in every step",
    )
    feedback_kind: Literal["analysis", "shuffled", "resample"] = Field(
        "analysis",
        description="the scene's own analysis; or its controls: another scene's, or plain sampling (proof.md 18)",
    )
    threshold: float = Field(0.6, ge=0, le=1, description="delta: below this best reward a scene is refined")
    replay_weight: float = Field(
        12.0,
        ge=0,
        le=100,
        description="`directional` only: Huber on the refit's scenes, so that what it taught is kept",
    )
    max_grad_norm: float = Field(1.0, gt=0, le=1000, description="as in the other stages")
    save_epochs: int = Field(
        0, ge=0, le=1000, description="epochs between two checkpoints; 0 writes one a minute at most"
    )


class TeacherConfig(Section):
    """Who says what is wrong with a failed plan (ELF-VLA)."""

    url: str = Field(
        "", description="base of an OpenAI-compatible endpoint, such as http://host:8000/v1; empty: by rule"
    )
    model: str = Field("", description="model name that the endpoint knows")
    api_key_env: str = Field("", description="environment variable that holds the key; empty: no key")
    report: Literal["block", "full"] = Field(
        "block",
        description="what a rule-based correction prompt shows: the four-level block, or the five-part report",
    )
    timeout_s: float = Field(
        30.0, gt=0, le=600, description="for one answer, from the request to its last byte"
    )
    retries: int = Field(
        2, ge=0, le=10, description="further tries after a time-out, a lost connection, 429, 5xx"
    )
    backoff_s: float = Field(0.5, ge=0, le=60, description="wait before the first retry; doubles each time")
    give_up_after: int = Field(
        3, ge=1, le=1000, description="failures in a row after which a stage goes on by rule"
    )
    max_tokens: int = Field(400, ge=32, le=8192, description="length of an answer")
    cache_dir: str = Field(
        "", description="folder of known answers; empty: `teacher` beside the rounds' stages"
    )

    @model_validator(mode="after")
    def _complete(self) -> TeacherConfig:
        if not self.url:
            return self
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must be http(s)://host[:port]/path")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url must hold no user, password or query: they end in logs; use api_key_env")
        if not self.model:
            raise ValueError("url needs a model")
        return self


class RefitConfig(Section):
    """Refit of the head on cached features after the backbone has changed (proof.md 16)."""

    enabled: bool = Field(True, description="run this stage")
    epochs: int = Field(12, ge=1, le=1000, description="cheap: no backbone pass")
    corrections: bool = Field(
        False,
        description="also fit the good plan after a correction prompt: without, feedback's words are not read",
    )
    takeover_share: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="weight of the takeovers' samples among all: unweighted they are lost in the replay",
    )
    per_device_train_batch_size: int = Field(64, ge=1, le=4096, description="scenes of a step")
    learning_rate: float = Field(1e-3, gt=0, lt=1, description="the features have moved")
    max_samples: int = Field(
        8000,
        ge=1,
        description="replay scenes beside the takeovers, a prefill each; with few the head overfits",
    )
    max_grad_norm: float = Field(1.0, gt=0, le=1000, description="as in the other stages")
    save_epochs: int = Field(
        0, ge=0, le=1000, description="epochs between two checkpoints; 0 writes one a minute at most"
    )


class FeatureConfig(Section):
    """Where hidden states of the frozen backbone are kept for the stages that train the heads alone."""

    store: Literal["memory", "disk"] = Field(
        "memory",
        description="disk: beside the stages' folders, found again by a later run of the same backbone",
    )
    int8: bool = Field(
        False,
        description="on disk a quarter of the size; no value moves by more than 1/254 of its block's largest",
    )
    budget_mb: int = Field(
        2000, ge=1, description="of the disk's store; the least recently used features go first"
    )


class RefineConfig(Section):
    """All stages of a round, in their order."""

    sft: SftConfig = SftConfig()
    dpo: DpoConfig = DpoConfig()
    kto: KtoConfig = KtoConfig()
    grpo: GrpoConfig = GrpoConfig()
    refit: RefitConfig = RefitConfig()
    anchor: AnchorConfig = AnchorConfig()
    teacher: TeacherConfig = TeacherConfig()
    lora: LoraSettings = LoraSettings()
    features: FeatureConfig = FeatureConfig()
    threads: int = Field(
        2,
        ge=1,
        le=64,
        description="cores that training takes, if there are so many; drives beside it (round 1) share them",
    )


STAGES = ("sft", "dpo", "kto", "grpo", "refit", "anchor")


def bootstrap_config(
    max_steps: int = 300, batch: int = 32, learning_rate: float = 2e-3, *, tower_rate: float = 1.0
) -> SftConfig:
    """SFT from random weights: all there is in one pot, nothing to replay; 0 keeps a tower that sees already."""
    return SftConfig(
        max_steps=max_steps,
        per_device_train_batch_size=batch,
        learning_rate=learning_rate,
        tower_rate=tower_rate,
        replay_share=0.0,
    )
