"""Random problems: a question, the thought that solves it and the answer.

Held-out problems are apart from training by construction: `is_held_out` looks only at a hash of
the problem's key (its operation and operands, or the text itself for small talk).
"""

import random
import zlib
from dataclasses import dataclass, field

import phrases
import working

CATEGORIES = {  # share of the training mixture
    "add": 0.16,
    "subtract": 0.18,
    "multiply": 0.20,
    "compare": 0.13,
    "word-one": 0.09,
    "word-two": 0.12,
    "follow-up": 0.05,
    "chat": 0.07,
}
LANGUAGES = ("en", "zh")
HELD_OUT_ONE_IN = 25


@dataclass
class Problem:
    """One exchange. `value` is what the answer must show in bold, or None for small talk."""

    category: str
    language: str
    key: tuple
    question: str
    thought: str
    answer: str
    value: str | None = None
    history: list = field(default_factory=list)
    system: str | None = None
    right_answers: tuple = ()

    def messages(self):
        """The conversation up to the question, as chat messages."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        return head + self.history + [{"role": "user", "content": self.question}]

    def completion(self):
        """What the model writes after the generation prompt."""
        return f"{self.thought}\n</think>\n\n{self.answer}"


def is_held_out(key):
    """Whether a key belongs to the held-out part."""
    return zlib.crc32(repr(key).encode()) % HELD_OUT_ONE_IN == 0


def digits_number(rng, low, high):
    """A number whose count of digits is uniform in low..high."""
    count = rng.randint(low, high)
    return rng.randrange(10 ** (count - 1) if count > 1 else 0, 10 ** count)


def pair(rng, low, high):
    """Two numbers, half of the time of equal length, sometimes with a common beginning."""
    a = digits_number(rng, low, high)
    draw = rng.random()
    length = len(str(a))
    if draw < 0.42:
        return a, digits_number(rng, length, length)
    if draw < 0.52:
        tail = 10 ** rng.randint(1, length)
        return a, a // tail * tail + rng.randrange(tail)
    return a, digits_number(rng, low, high)


def bold(value):
    """The form in which an answer shows its value."""
    return f"**{value}**"


def expression(rng, category, operation, a, b, language):
    """A bare sum, difference or product."""
    swapped = operation == "*" and len(str(b)) > len(str(a))
    first, second = (b, a) if swapped else (a, b)
    name = {"+": "add", "-": "subtract", "*": "multiply"}[operation]
    symbol = "×" if operation == "*" else operation
    question = phrases.decorate(rng, rng.choice(phrases.QUESTIONS[name][language]).format(a=a, b=b),
                                language)
    lines, value = working.work(operation, first, second, language)
    intro = rng.choice(phrases.INTROS[language]).format(equation=f"{a}{symbol}{b}")
    if swapped:
        intro += phrases.SWAPPED[language].format(equation=f"{first}×{second}")
    answer = rng.choice(phrases.RESULTS[language]).format(
        equation=f"{a} {symbol} {b}", value=bold(value))
    return Problem(category, language, (operation, a, b), question, "\n".join([intro] + lines),
                   answer, str(value))


def make_add(rng, language):
    """Addition of up to six digits."""
    return expression(rng, "add", "+", *pair(rng, 1, 6), language)


def make_subtract(rng, language):
    """Subtraction of up to six digits, half of the time negative."""
    a, b = pair(rng, 1, 6)
    if a < b and rng.random() < 0.3:
        a, b = b, a
    return expression(rng, "subtract", "-", a, b, language)


def make_multiply(rng, language):
    """Multiplication of up to three by two digits, in either order."""
    a = digits_number(rng, 1, 3) if rng.random() < 0.5 else digits_number(rng, 2, 3)
    b = digits_number(rng, 1, 2)
    if rng.random() < 0.25:
        a, b = b, a
    if len(str(a)) < len(str(b)) and len(str(b)) == 2 and rng.random() < 0.3:
        a, b = b, a
    return expression(rng, "multiply", "*", a, b, language)


def make_compare(rng, language):
    """The largest or smallest of two, three or four numbers."""
    count = rng.choice([2, 2, 2, 2, 3, 3, 4])
    first, second = pair(rng, 1, 6)
    numbers = [first, second] + [pair(rng, 1, 6)[rng.randrange(2)] for _ in range(count - 2)]
    largest = rng.random() < 0.6
    kind = ("larger" if count == 2 else "largest") if largest else (
        "smaller" if count == 2 else "smallest")
    listed = phrases.listing(rng, numbers, language)
    question = phrases.decorate(
        rng, rng.choice(phrases.COMPARE[language][kind]).format(numbers=listed), language)
    pick = max if largest else min
    best, lines = numbers[0], []
    for number in numbers[1:]:
        lines += working.compare(best, number, language)
        best = pick(best, number)
        lines.append(phrases.COMPARE_STEP[language][largest].format(best=best))
    intro = phrases.COMPARE_INTRO[language][largest]
    answer = rng.choice(phrases.COMPARE_ANSWER[language][kind]).format(value=bold(best))
    return Problem("compare", language, ("compare", *numbers), question,
                   "\n".join([intro] + lines), answer, str(best))


def story_numbers(rng, operations):
    """Operands of a story with results that are never negative, and the final value."""
    while True:
        if operations[0] == "*":
            numbers = [rng.randint(2, 99), rng.randint(2, 12)]
            value = numbers[0] * numbers[1]
        else:
            numbers = [digits_number(rng, 1, 3) + 2, digits_number(rng, 1, 3) + 2]
            value = numbers[0] + numbers[1] if operations[0] == "+" else numbers[0] - numbers[1]
        if len(operations) == 2:
            numbers.append(digits_number(rng, 1, 3) + 2)
            value += numbers[2] if operations[1] == "+" else -numbers[2]
        partial = numbers[0] - numbers[1] if operations[0] == "-" else 1
        if value > 0 and partial > 0:
            return numbers


def make_story(rng, language, category):
    """A word problem of one or two steps."""
    story = rng.choice(phrases.STORIES[category][language])
    operations = story["operations"]
    numbers = story_numbers(rng, operations)
    words = phrases.story_words(rng, language)
    slots = dict(zip("abc", numbers), **words)
    question = rng.choice(story["questions"]).format(**slots)
    lines = [story["thought"].format(**slots)]
    value = numbers[0]
    for index, operation in enumerate(operations):
        symbol = "×" if operation == "*" else operation
        step = phrases.STEPS[language][index if len(operations) > 1 else 2]
        first, second = value, numbers[index + 1]
        lines.append(step.format(equation=f"{first}{symbol}{second}"))
        if operation == "*" and len(str(second)) > len(str(first)):
            first, second = second, first
            lines[-1] += phrases.SWAPPED[language].format(equation=f"{first}×{second}")
        worked, value = working.work(operation, first, second, language)
        lines += worked
    answer = story["answer"].format(value=bold(value), **slots)
    key = (operations[0], numbers[0], numbers[1]) if len(numbers) == 2 else (operations, *numbers)
    return Problem(category, language, key, question, "\n".join(lines), answer, str(value))


def make_follow_up(rng, language):
    """A second turn that goes on with the value of the first answer."""
    first = rng.choice([make_add, make_subtract])(rng, language)
    while int(first.value) < 0 or len(first.value) > 5:
        first = rng.choice([make_add, make_subtract])(rng, language)
    before, operand = int(first.value), digits_number(rng, 1, 4)
    operation = rng.choice("+-")
    question = rng.choice(phrases.FOLLOW_UPS[operation][language]).format(b=operand)
    lines, value = working.work(operation, before, operand, language)
    intro = phrases.FOLLOW_UP_INTRO[language].format(
        before=before, equation=f"{before}{operation}{operand}")
    answer = rng.choice(phrases.RESULTS[language]).format(
        equation=f"{before} {operation} {operand}", value=bold(value))
    history = [{"role": "user", "content": first.question},
               {"role": "assistant", "content": first.answer}]
    return Problem("follow-up", language, (operation, before, operand), question,
                   "\n".join([intro] + lines), answer, str(value), history)


def make_chat(rng, language):
    """Small talk, and polite refusals of what the model cannot know."""
    talk = rng.choice(phrases.TALK[language])
    question = phrases.vary(rng, rng.choice(talk["questions"]), language)
    return Problem("chat", language, ("chat", question), question, rng.choice(talk["thoughts"]),
                   rng.choice(talk["answers"]), right_answers=tuple(talk["answers"]))


MAKERS = {
    "add": make_add,
    "subtract": make_subtract,
    "multiply": make_multiply,
    "compare": make_compare,
    "word-one": lambda rng, language: make_story(rng, language, "word-one"),
    "word-two": lambda rng, language: make_story(rng, language, "word-two"),
    "follow-up": make_follow_up,
    "chat": make_chat,
}


def add_context(rng, problem):
    """Now and then puts a system prompt or earlier turns before the question."""
    if rng.random() < 0.10:
        problem.system = phrases.system_prompt(rng)
    if rng.random() < 0.12:
        turns = []
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            earlier = make(rng, rng.choice(list(MAKERS)), held_out=False, context=False)
            turns += earlier.history + [{"role": "user", "content": earlier.question},
                                        {"role": "assistant", "content": earlier.answer}]
        problem.history = turns + problem.history
    return problem


def make(rng, category, held_out, context=True, language=None):
    """One problem of a category from the wanted side of the split."""
    while True:
        problem = MAKERS[category](rng, language or rng.choice(LANGUAGES))
        if is_held_out(problem.key) == held_out:
            return add_context(rng, problem) if context else problem


def sample(rng, held_out, count):
    """A list of problems drawn from the mixture."""
    names, weights = zip(*CATEGORIES.items())
    return [make(rng, category, held_out) for category in rng.choices(names, weights, k=count)]


def generator(seed, *parts):
    """A random generator that depends on a seed and the given parts only."""
    return random.Random(f"{seed}/{parts}")
