"""The written-out arithmetic: what tiny-r1 thinks, line by line.

Every line can be written by looking at a few tokens that stand just before it: numbers are
spelled from the right, each place has its own line, and the result grows by one digit a line.
A working is a list of lines; the last one states the result as `a+b=c`.
"""

PLACES = {
    "en": ["ones", "tens", "hundreds", "thousands", "ten-thousands", "hundred-thousands", "millions"],
    "zh": ["个位", "十位", "百位", "千位", "万位", "十万位", "百万位"],
}

TEXT = {
    "en": {
        "line": "{place}: {sum}, carry {carry}, result {result}",
        "borrow": "{place}: {sum}, borrow {carry}, result {result}",
        "carry": "carry {carry} in front: {result}",
        "so": "So {equation}.",
        "times": "Now {equation}.",
        "shift": "So {first}, and {second}.",
        "digits": "From the right:",
        "length": "{a} has {m} digits and {b} has {n}, so {order}.",
        "walk": "{a} and {b} both have {m} digits. From the left: {steps}, so {order}.",
        "negative": "The result is negative, so I compute {equation} first.",
    },
    "zh": {
        "line": "{place}：{sum}，进{carry}，得{result}",
        "borrow": "{place}：{sum}，借{carry}，得{result}",
        "carry": "前面写上进位{carry}：{result}",
        "so": "所以{equation}。",
        "times": "再算{equation}。",
        "shift": "所以{first}，{second}。",
        "digits": "从右往左写：",
        "length": "{a}有{m}位，{b}有{n}位，所以{order}。",
        "walk": "{a}和{b}都有{m}位，从左往右比：{steps}，所以{order}。",
        "negative": "结果是负数，先算{equation}。",
    },
}


def sign(a, b):
    """The relation between two comparable values, as a character."""
    return "<" if a < b else ">" if a > b else "="


def reversed_digits(number, width):
    """The digits of a number from the right, padded with zeros to the width."""
    return [int(digit) for digit in reversed(str(number).zfill(width))]


def spelled(numbers, width, language):
    """Lines that spell the numbers from the right, all equally long."""
    mark = ": " if language == "en" else "："
    lines = [TEXT[language]["digits"]]
    for number in numbers:
        lines.append(f"{number}{mark}" + ",".join(map(str, reversed_digits(number, width))))
    return lines


def add(a, b, language):
    """Column addition."""
    text, places = TEXT[language], PLACES[language]
    width = max(len(str(a)), len(str(b)))
    lines = spelled([a, b], width, language)
    carry, result = 0, ""
    for place, x, y in zip(places, reversed_digits(a, width), reversed_digits(b, width)):
        total = x + y + carry
        equation = f"{x}+{y}+{carry}={total}"
        carry, result = total // 10, f"{total % 10}{result}"
        lines.append(text["line"].format(place=place, sum=equation, carry=carry, result=result))
    if carry:
        lines.append(text["carry"].format(carry=carry, result=f"{carry}{result}"))
    lines.append(text["so"].format(equation=f"{a}+{b}={a + b}"))
    return lines


def subtract_ordered(a, b, language):
    """Column subtraction of b from a, which is at least b."""
    text, places = TEXT[language], PLACES[language]
    width = len(str(a))
    lines = spelled([a, b], width, language)
    borrow, result = 0, ""
    for place, x, y in zip(places, reversed_digits(a, width), reversed_digits(b, width)):
        total = x - y - borrow
        equation = f"{x}-{y}-{borrow}={total}"
        if total < 0:
            equation += f"+10={total + 10}" if language == "zh" else f", +10={total + 10}"
        borrow, result = int(total < 0), f"{total % 10}{result}"
        lines.append(text["borrow"].format(place=place, sum=equation, carry=borrow, result=result))
    lines.append(text["so"].format(equation=f"{a}-{b}={a - b}"))
    return lines


def compare(a, b, language):
    """One line that finds the relation between two numbers, digit by digit from the left."""
    text = TEXT[language]
    m, n = len(str(a)), len(str(b))
    order = f"{a}{sign(a, b)}{b}"
    if m != n:
        return [text["length"].format(a=a, b=b, m=m, n=n, order=order)]
    steps = []
    for x, y in zip(str(a), str(b)):
        steps.append(f"{x}{sign(x, y)}{y}")
        if x != y:
            break
    comma = ", " if language == "en" else "，"
    return [text["walk"].format(a=a, b=b, m=m, steps=comma.join(steps), order=order)]


def subtract(a, b, language):
    """Subtraction with a result of either sign."""
    text = TEXT[language]
    lines = compare(a, b, language)
    if a >= b:
        return lines + subtract_ordered(a, b, language)
    lines.append(text["negative"].format(equation=f"{b}-{a}"))
    lines += subtract_ordered(b, a, language)
    lines.append(text["so"].format(equation=f"{a}-{b}=-{b - a}"))
    return lines


def multiply_digit(a, digit, language):
    """Product of a number and one digit."""
    text, places = TEXT[language], PLACES[language]
    if digit == 0:
        return [text["so"].format(equation=f"{a}×0=0")]
    lines = spelled([a], len(str(a)), language)
    carry, result = 0, ""
    for place, x in zip(places, reversed_digits(a, len(str(a)))):
        total = x * digit + carry
        equation = f"{x}×{digit}+{carry}={total}"
        carry, result = total // 10, f"{total % 10}{result}"
        lines.append(text["line"].format(place=place, sum=equation, carry=carry, result=result))
    if carry:
        lines.append(text["carry"].format(carry=carry, result=f"{carry}{result}"))
    lines.append(text["so"].format(equation=f"{a}×{digit}={a * digit}"))
    return lines


def multiply(a, b, language):
    """Product with a second factor of one or two digits, by partial products."""
    text = TEXT[language]
    if b < 10:
        return multiply_digit(a, b, language)
    tens, ones = divmod(b, 10)
    low, high = a * ones, a * tens * 10
    split = f"{a}×{b}={a}×{ones}+{a}×{tens}0"
    lines = [text["so"].format(equation=split)]
    lines.append(text["times"].format(equation=f"{a}×{ones}"))
    lines += multiply_digit(a, ones, language)
    lines.append(text["times"].format(equation=f"{a}×{tens}"))
    lines += multiply_digit(a, tens, language)
    lines.append(text["shift"].format(first=f"{a}×{tens}0={high}", second=f"{a}×{b}={low}+{high}"))
    lines += add(low, high, language)[:-1]
    lines.append(text["so"].format(equation=f"{a}×{b}={a * b}"))
    return lines


def work(operation, a, b, language):
    """The working of one operation; returns its lines and its value."""
    if operation == "+":
        return add(a, b, language), a + b
    if operation == "-":
        return subtract(a, b, language), a - b
    return multiply(a, b, language), a * b
