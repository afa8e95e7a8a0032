"""The training loop: resumable, on CUDA where there is one, else on the CPU."""

import shutil
import time
from dataclasses import asdict

import torch
import torch.nn.functional as F

import batches
from model import TinyQwen2
from settings import RUN_FOLDER, Architecture, Training

CHECKPOINT = RUN_FOLDER / "checkpoint.pt"


def device():
    """The device to train on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def parameter_groups(model, decay):
    """Weight decay for matrices only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def learning_rate(training, step, progress):
    """Warm-up, a constant stretch, and a linear decay over the last share of the run's time."""
    warm = min(1.0, (step + 1) / training.warmup_steps)
    left = min(1.0, max(0.0, 1.0 - progress) / training.decay_share)
    peak, end = training.learning_rate, training.learning_rate_end
    return warm * (end + (peak - end) * left)


class Run:
    """One training run: model, optimiser and place in the data. A checkpoint holds all of it.

    The place is (chunk, position in the chunk); `seconds` counts training time only, so that a
    run that was interrupted keeps its schedule.
    """

    def __init__(self, encoder, training=Training(), architecture=Architecture()):
        torch.manual_seed(training.seed)
        self.encoder, self.training, self.device = encoder, training, device()
        self.model = TinyQwen2(architecture).to(self.device)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, training.weight_decay), lr=training.learning_rate,
            betas=(training.beta1, training.beta2), fused=True)
        self.chunk = self.position = self.step = self.positions = self.problems = 0
        self.seconds = 0.0
        self.losses = []

    def decaying(self):
        """Whether the learning rate has begun to fall."""
        return self.seconds / 60.0 / self.training.minutes > 1.0 - self.training.decay_share

    def save(self):
        """Writes the checkpoint atomically; keeps the last one before the decay under its own name."""
        CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
        place = {name: getattr(self, name) for name in
                 ("chunk", "position", "step", "positions", "problems", "seconds")}
        partial = CHECKPOINT.with_suffix(".partial")
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                    "place": place, "training": asdict(self.training)}, partial)
        partial.replace(CHECKPOINT)
        if not self.decaying():
            shutil.copy(CHECKPOINT, CHECKPOINT.with_name("before-decay.pt"))

    def load(self):
        """Goes on from the checkpoint if there is one."""
        if CHECKPOINT.exists():
            state = torch.load(CHECKPOINT, map_location=self.device)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, value in state["place"].items():
                setattr(self, name, value)

    def loss(self, ids, targets):
        """Mean cross entropy over the completion's tokens."""
        flat = targets.reshape(-1)
        chosen = (flat != batches.IGNORED).nonzero()[:, 0]
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            logits = self.model.lm_head(self.model.hidden(ids)[chosen])
        return F.cross_entropy(logits.float(), flat[chosen])

    def train_batch(self, ids, targets):
        """One step of the optimiser."""
        progress = self.seconds / 60.0 / self.training.minutes
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.training, self.step, progress)
        loss = self.loss(torch.from_numpy(ids).to(self.device), torch.from_numpy(targets).to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.gradient_norm_max)
        self.optimizer.step()
        self.losses.append(loss.detach())
        self.step, self.positions = self.step + 1, self.positions + ids.size
        self.problems += len(ids)

    def finished(self):
        """Whether the run's time is spent."""
        return self.seconds >= 60.0 * self.training.minutes

    def log(self):
        """One line with the mean loss since the last one."""
        loss = float(torch.stack(self.losses).mean())
        self.losses = []
        print(f"minute {self.seconds / 60:.1f} step {self.step} loss {loss:.4f} "
              f"positions/s {self.positions / self.seconds:.0f} problems {self.problems}", flush=True)

    def train_chunk(self, made):
        """Trains on what is left of one chunk of batches."""
        for ids, targets in made[self.position:]:
            started = time.monotonic()
            self.train_batch(ids, targets)
            self.position += 1
            self.seconds += time.monotonic() - started
            if self.step % 50 == 0:
                self.log()
            if self.finished():
                return
        self.chunk, self.position = self.chunk + 1, 0

    def run(self, evaluate):
        """Trains to the end; `evaluate(model)` prints interim figures beside each checkpoint."""
        self.model.train()
        saved = self.seconds
        while not self.finished():
            started = time.monotonic()
            made = batches.chunk_batches(self.encoder, self.training.seed, self.chunk, self.training)
            self.seconds += time.monotonic() - started
            self.train_chunk(made)
            if self.seconds - saved > 60.0 * self.training.save_every_minutes or self.finished():
                self.save()
                evaluate(self.model)
                self.model.train()
                saved = self.seconds
