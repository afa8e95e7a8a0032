"""Endless, reproducible batches: chunk by chunk, each chunk sorted into buckets of equal length."""

import numpy as np

import problems

IGNORED = -100
STEP = 16


def examples(encoder, seed, chunk, training):
    """The (prompt ids, completion ids) of one chunk of problems."""
    made = problems.sample(problems.generator(seed, "train", chunk), False, training.problems_per_chunk)
    pairs = zip(encoder.prompts(made), encoder.completions(made))
    return [(p, c) for p, c in pairs if len(p) + len(c) <= training.sequence_tokens_max]


def pad(group, length):
    """Inputs and targets of a group; only completions are targets."""
    ids = np.zeros((len(group), length), dtype=np.int64)
    targets = np.full((len(group), length), IGNORED, dtype=np.int64)
    for row, (prompt, completion) in enumerate(group):
        joined = prompt + completion
        ids[row, :len(joined) - 1] = joined[:-1]
        targets[row, len(prompt) - 1:len(joined) - 1] = completion
    return ids, targets


def padded_length(pair):
    """Positions that a pair takes in a batch."""
    return (len(pair[0]) + len(pair[1]) - 1 + STEP - 1) // STEP * STEP


def chunk_batches(encoder, seed, chunk, training):
    """The batches of one chunk in random order, each of about tokens_per_batch positions."""
    made = examples(encoder, seed, chunk, training)
    made.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
    batches, start = [], 0
    while start < len(made):
        count, length = 1, padded_length(made[start])
        while start + count < len(made):
            longer = padded_length(made[start + count])
            if (count + 1) * longer > training.tokens_per_batch:
                break
            count, length = count + 1, longer
        batches.append(pad(made[start:start + count], length))
        start += count
    problems.generator(seed, "order", chunk).shuffle(batches)
    return batches
