"""The words around the arithmetic, in English and Chinese."""

QUESTIONS = {
    "add": {
        "en": [
            "What is {a} + {b}?", "What is {a} + {b}?", "What is {a} plus {b}?", "{a} + {b}",
            "{a}+{b}", "{a}+{b}=", "{a} + {b} = ?", "Calculate {a} + {b}.", "Compute {a} + {b}",
            "Add {a} and {b}.", "What is the sum of {a} and {b}?", "How much is {a} + {b}?",
            "How much is {a} plus {b}?", "What's {a} + {b}?", "what is {a}+{b}",
            "Can you work out {a} + {b} for me?", "Solve {a} + {b}.", "Please add {a} and {b}.",
            "Find {a} + {b}.", "Tell me what {a} plus {b} is.", "What does {a} + {b} equal?",
            "I need the sum of {a} and {b}.", "Evaluate {a} + {b}", "{a} plus {b}?",
        ],
        "zh": [
            "{a} + {b} 等于多少？", "{a}+{b}等于多少？", "{a}+{b}=?", "{a} + {b}是多少？", "计算{a}+{b}。",
            "请计算 {a} + {b}", "{a}加{b}等于多少？", "{a}加{b}是多少？", "求{a}与{b}的和。",
            "{a}和{b}的和是多少？", "算一下{a}+{b}", "帮我算一下 {a} + {b}", "{a}加上{b}是多少",
            "请把{a}和{b}相加。", "{a}＋{b}＝？", "请问{a}+{b}等于几？",
        ],
    },
    "subtract": {
        "en": [
            "What is {a} - {b}?", "What is {a} - {b}?", "What is {a} minus {b}?", "{a} - {b}",
            "{a}-{b}", "{a}-{b}=", "{a} - {b} = ?", "Calculate {a} - {b}.", "Compute {a} - {b}",
            "Subtract {b} from {a}.", "What is the difference {a} - {b}?", "How much is {a} - {b}?",
            "How much is {a} minus {b}?", "What's {a} - {b}?", "what is {a}-{b}",
            "Can you work out {a} - {b} for me?", "Solve {a} - {b}.", "Take {b} away from {a}.",
            "Find {a} - {b}.", "Tell me what {a} minus {b} is.", "What does {a} - {b} equal?",
            "Evaluate {a} - {b}", "{a} minus {b}?", "What is left of {a} after taking away {b}?",
        ],
        "zh": [
            "{a} - {b} 等于多少？", "{a}-{b}等于多少？", "{a}-{b}=?", "{a} - {b}是多少？", "计算{a}-{b}。",
            "请计算 {a} - {b}", "{a}减{b}等于多少？", "{a}减{b}是多少？", "求{a}减去{b}的差。",
            "{a}减去{b}是多少？", "算一下{a}-{b}", "帮我算一下 {a} - {b}", "从{a}里减去{b}是多少",
            "{a}－{b}＝？", "请问{a}-{b}等于几？",
        ],
    },
    "multiply": {
        "en": [
            "What is {a} × {b}?", "What is {a} * {b}?", "What is {a} times {b}?", "{a} × {b}",
            "{a}*{b}", "{a}*{b}=", "{a} x {b} = ?", "Calculate {a} * {b}.", "Compute {a} × {b}",
            "Multiply {a} by {b}.", "What is the product of {a} and {b}?", "How much is {a} * {b}?",
            "How much is {a} times {b}?", "What's {a} × {b}?", "what is {a}*{b}", "What is {a} x {b}?",
            "Can you work out {a} × {b} for me?", "Solve {a} * {b}.", "Please multiply {a} by {b}.",
            "Find {a} × {b}.", "Tell me what {a} times {b} is.", "What does {a} * {b} equal?",
            "Evaluate {a} * {b}", "{a} times {b}?",
        ],
        "zh": [
            "{a} × {b} 等于多少？", "{a}×{b}等于多少？", "{a}*{b}=?", "{a} × {b}是多少？", "计算{a}×{b}。",
            "请计算 {a} * {b}", "{a}乘{b}等于多少？", "{a}乘以{b}是多少？", "求{a}与{b}的积。",
            "{a}和{b}的积是多少？", "算一下{a}×{b}", "帮我算一下 {a} * {b}", "{a}乘以{b}等于多少",
            "{a}×{b}＝？", "请问{a}×{b}等于几？",
        ],
    },
}

PREFIXES = {
    "en": ["Hi! ", "Hello, ", "Please help: ", "Hey, ", "Quick question: ", "Question: ", "OK, "],
    "zh": ["你好，", "请问：", "请帮个忙，", "问题：", "老师，", "好的，"],
}
SUFFIXES = {
    "en": [" Thanks!", " Please.", " Think step by step.", " Show your work.", " Thank you.", "\n"],
    "zh": [" 谢谢！", "请一步一步想。", "谢谢。", "请写出过程。", "\n"],
}
INTROS = {
    "en": ["I need to compute {equation}.", "Let me work out {equation}.", "The question asks for {equation}."],
    "zh": ["需要计算{equation}。", "我来算{equation}。", "题目要求{equation}。"],
}
SWAPPED = {"en": " That is the same as {equation}.", "zh": "这和{equation}一样。"}
RESULTS = {
    "en": ["{equation} = {value}", "{equation} = {value}", "The result is {equation} = {value}."],
    "zh": ["{equation} = {value}", "{equation} = {value}", "结果是 {equation} = {value}。"],
}
STEPS = {
    "en": ["First I compute {equation}.", "Then I compute {equation}.", "I compute {equation}."],
    "zh": ["先算{equation}。", "再算{equation}。", "列式{equation}。"],
}

COMPARE = {
    "en": {
        "larger": ["Which is larger, {numbers}?", "Which number is bigger: {numbers}?",
                   "Which one is greater, {numbers}?", "What is the larger number, {numbers}?"],
        "smaller": ["Which is smaller, {numbers}?", "Which number is smaller: {numbers}?",
                    "Which one is less, {numbers}?", "What is the smaller number, {numbers}?"],
        "largest": ["Which is the largest, {numbers}?", "Find the largest number: {numbers}",
                    "Which number is the biggest of {numbers}?", "What is the maximum of {numbers}?"],
        "smallest": ["Which is the smallest, {numbers}?", "Find the smallest number: {numbers}",
                     "Which number is the least of {numbers}?", "What is the minimum of {numbers}?"],
    },
    "zh": {
        "larger": ["{numbers}哪个更大？", "{numbers}，哪个大？", "比较{numbers}，哪个数更大？"],
        "smaller": ["{numbers}哪个更小？", "{numbers}，哪个小？", "比较{numbers}，哪个数更小？"],
        "largest": ["{numbers}中哪个最大？", "{numbers}，最大的是哪个？", "找出最大的数：{numbers}"],
        "smallest": ["{numbers}中哪个最小？", "{numbers}，最小的是哪个？", "找出最小的数：{numbers}"],
    },
}
COMPARE_INTRO = {
    "en": {True: "I look for the largest number.", False: "I look for the smallest number."},
    "zh": {True: "要找最大的数。", False: "要找最小的数。"},
}
COMPARE_STEP = {
    "en": {True: "The largest so far is {best}.", False: "The smallest so far is {best}."},
    "zh": {True: "目前最大的是{best}。", False: "目前最小的是{best}。"},
}
COMPARE_ANSWER = {
    "en": {
        "larger": ["The larger number is {value}.", "{value} is larger."],
        "smaller": ["The smaller number is {value}.", "{value} is smaller."],
        "largest": ["The largest number is {value}."],
        "smallest": ["The smallest number is {value}."],
    },
    "zh": {
        "larger": ["更大的数是 {value}。", "{value} 更大。"],
        "smaller": ["更小的数是 {value}。", "{value} 更小。"],
        "largest": ["最大的数是 {value}。"],
        "smallest": ["最小的数是 {value}。"],
    },
}

NAMES = {
    "en": ["Tom", "Anna", "Ben", "Lucy", "Max", "Mia", "Sam", "Emma", "Li", "Omar"],
    "zh": ["小明", "小红", "小华", "小丽", "小刚", "小美", "老王", "小李"],
}
ITEMS = {
    "en": ["apples", "books", "pencils", "coins", "cards", "stamps", "eggs", "flowers", "stickers", "marbles"],
    "zh": ["苹果", "鸡蛋", "橘子", "气球", "面包", "杯子", "玩具", "桃子", "盒子", "玻璃球"],
}
BOXES = {
    "en": ["boxes", "bags", "baskets", "packs", "shelves"],
    "zh": ["盒", "袋", "篮", "包", "箱"],
}


def story(operations, questions, thought, answer):
    """One word problem: its operations in order, ways to ask, how the thought begins, the answer."""
    return {"operations": operations, "questions": questions, "thought": thought, "answer": answer}


STORIES = {
    "word-one": {
        "en": [
            story("+", ["{name} has {a} {item} and gets {b} more. How many {item} does {name} have now?",
                        "{name} had {a} {item}. {other} gave {name} {b} more {item}. How many {item} are there now?",
                        "{name} buys {a} {item} on Monday and {b} {item} on Tuesday. How many {item} is that in total?"],
                  "There are {a} {item} and {b} more come, so I add.", "{name} has {value} {item}."),
            story("+", ["{name} has {a} {item} and {other} has {b} {item}. How many do they have together?",
                        "There are {a} {item} in one box and {b} in another. How many {item} are there together?"],
                  "Both counts belong together, so I add.", "Together there are {value} {item}."),
            story("-", ["{name} has {a} {item} and gives {b} to {other}. How many {item} are left?",
                        "{name} had {a} {item} and lost {b} of them. How many {item} are left?",
                        "A shop has {a} {item} and sells {b}. How many {item} are left?"],
                  "From {a} {item}, {b} go away, so I subtract.", "There are {value} {item} left."),
            story("-", ["{name} has {a} {item}, {other} has {b}. How many more {item} does {name} have?",
                        "{name} collected {a} {item} and {other} collected {b}. How many more did {name} collect?"],
                  "The question asks for a difference, so I subtract.", "{name} has {value} more {item}."),
            story("*", ["There are {a} {box} with {b} {item} each. How many {item} are there in total?",
                        "{name} has {a} {box}. Each holds {b} {item}. How many {item} does {name} have?",
                        "{name} buys {a} {box} of {item}, {b} {item} in each. How many {item} is that?"],
                  "There are {a} equal groups of {b}, so I multiply.", "There are {value} {item} in total."),
        ],
        "zh": [
            story("+", ["{name}有{a}个{item}，又得到{b}个，现在有多少个{item}？",
                        "{name}原来有{a}个{item}，{other}又给了{name}{b}个。{name}现在一共有多少个{item}？",
                        "{name}星期一买了{a}个{item}，星期二买了{b}个{item}，一共买了多少个？"],
                  "原来有{a}个，又多了{b}个，用加法。", "{name}一共有 {value} 个{item}。"),
            story("+", ["{name}有{a}个{item}，{other}有{b}个{item}，他们一共有多少个？",
                        "一个盒子里有{a}个{item}，另一个里有{b}个，合起来有多少个{item}？"],
                  "把两个数合起来，用加法。", "一共有 {value} 个{item}。"),
            story("-", ["{name}有{a}个{item}，给了{other}{b}个，还剩多少个？",
                        "{name}有{a}个{item}，弄丢了{b}个，还剩多少个{item}？",
                        "商店有{a}个{item}，卖出{b}个，还剩多少个？"],
                  "从{a}个里去掉{b}个，用减法。", "还剩 {value} 个{item}。"),
            story("-", ["{name}有{a}个{item}，{other}有{b}个，{name}比{other}多多少个？",
                        "{name}收集了{a}个{item}，{other}收集了{b}个，{name}多收集了多少个？"],
                  "求相差多少，用减法。", "{name}多 {value} 个{item}。"),
            story("*", ["有{a}{box}{item}，每{box}{b}个，一共有多少个{item}？",
                        "{name}买了{a}{box}{item}，每{box}有{b}个，一共买了多少个？"],
                  "一共{a}份，每份{b}个，用乘法。", "一共有 {value} 个{item}。"),
        ],
    },
    "word-two": {
        "en": [
            story("+-", ["{name} has {a} {item}, gets {b} more and then gives away {c}. How many {item} are left?",
                         "A shop has {a} {item}. It receives {b} and sells {c}. How many {item} does it have now?"],
                  "First {b} come, then {c} go: add, then subtract.", "There are {value} {item} left."),
            story("-+", ["{name} has {a} {item}, gives {b} to {other} and then finds {c}. How many {item} does {name} have now?",
                         "There were {a} {item} in a room. {b} were taken out and {c} were put in. How many {item} are there now?"],
                  "First {b} go, then {c} come: subtract, then add.", "Now there are {value} {item}."),
            story("++", ["{name} has {a} {item}, {other} has {b} and a friend has {c}. How many {item} do they have in total?",
                         "{name} reads {a} pages on Monday, {b} on Tuesday and {c} on Wednesday. How many pages is that in total?"],
                  "There are three counts to put together: add twice.", "The total is {value}."),
            story("--", ["{name} has {a} {item}, gives {b} to {other} and loses {c}. How many {item} are left?",
                         "A shop has {a} {item}. It sells {b} in the morning and {c} in the afternoon. How many are left?"],
                  "First {b} go, then {c} go: subtract twice.", "There are {value} {item} left."),
            story("*+", ["{name} has {a} {box} with {b} {item} each and {c} single {item}. How many {item} are there in total?",
                         "{name} buys {a} {box} of {b} {item} and then gets {c} more {item}. How many {item} does {name} have?"],
                  "There are {a} groups of {b}, then {c} more: multiply, then add.", "There are {value} {item} in total."),
            story("*-", ["{name} has {a} {box} with {b} {item} each and gives away {c} {item}. How many {item} are left?",
                         "A shop gets {a} {box} with {b} {item} each and sells {c} {item}. How many {item} are left?"],
                  "There are {a} groups of {b}, then {c} go: multiply, then subtract.", "There are {value} {item} left."),
        ],
        "zh": [
            story("+-", ["{name}有{a}个{item}，又买了{b}个，后来送出{c}个，还剩多少个{item}？",
                         "商店有{a}个{item}，进货{b}个，卖出{c}个，现在有多少个？"],
                  "先多了{b}个，再少了{c}个：先加后减。", "还剩 {value} 个{item}。"),
            story("-+", ["{name}有{a}个{item}，给了{other}{b}个，后来又找到{c}个，现在有多少个？",
                         "房间里有{a}个{item}，拿走{b}个，又放进{c}个，现在有多少个{item}？"],
                  "先少了{b}个，再多了{c}个：先减后加。", "现在有 {value} 个{item}。"),
            story("++", ["{name}有{a}个{item}，{other}有{b}个，朋友有{c}个，他们一共有多少个？",
                         "{name}星期一看了{a}页书，星期二看了{b}页，星期三看了{c}页，一共看了多少页？"],
                  "三个数合起来：加两次。", "一共是 {value}。"),
            story("--", ["{name}有{a}个{item}，给了{other}{b}个，又弄丢{c}个，还剩多少个？",
                         "商店有{a}个{item}，上午卖出{b}个，下午卖出{c}个，还剩多少个{item}？"],
                  "先少了{b}个，再少了{c}个：减两次。", "还剩 {value} 个{item}。"),
            story("*+", ["{name}有{a}{box}{item}，每{box}{b}个，另外还有{c}个，一共有多少个{item}？",
                         "{name}买了{a}{box}{item}，每{box}{b}个，后来又得到{c}个，一共有多少个？"],
                  "{a}份，每份{b}个，再多{c}个：先乘后加。", "一共有 {value} 个{item}。"),
            story("*-", ["{name}有{a}{box}{item}，每{box}{b}个，送出{c}个，还剩多少个{item}？",
                         "商店进了{a}{box}{item}，每{box}{b}个，卖出{c}个，还剩多少个？"],
                  "{a}份，每份{b}个，去掉{c}个：先乘后减。", "还剩 {value} 个{item}。"),
        ],
    },
}

FOLLOW_UPS = {
    "+": {
        "en": ["Now add {b} to that.", "And plus {b}?", "Add {b} to the result.", "Plus {b}?", "What if you add {b}?"],
        "zh": ["再加{b}呢？", "再加上{b}是多少？", "结果再加{b}。", "然后加{b}等于多少？"],
    },
    "-": {
        "en": ["Now subtract {b} from that.", "And minus {b}?", "Subtract {b} from the result.", "Minus {b}?",
               "What if you take away {b}?"],
        "zh": ["再减{b}呢？", "再减去{b}是多少？", "结果再减{b}。", "然后减{b}等于多少？"],
    },
}
FOLLOW_UP_INTRO = {
    "en": "The last result was {before}, so I compute {equation}.",
    "zh": "上一个结果是{before}，所以计算{equation}。",
}


def talk(questions, thoughts, answers):
    """One kind of small talk."""
    return {"questions": questions, "thoughts": thoughts, "answers": answers}


TALK = {
    "en": [
        talk(["hi", "hello", "hey", "good morning", "good evening", "hello there", "hi there", "greetings",
              "how are you", "how are you doing", "nice to meet you", "good day", "hey there", "what's up"],
             ["The user greets me, so I greet back and offer help with arithmetic.",
              "This is a greeting. I answer in a friendly way and say what I can do."],
             ["Hello! I am tiny-r1. Give me some arithmetic and I will think it through.",
              "Hi! I can add, subtract, multiply and compare numbers. What shall I work out?"]),
        talk(["who are you", "what are you", "what is your name", "introduce yourself", "tell me about yourself",
              "what model are you", "which model is this", "who made you", "are you a robot", "what is tiny-r1",
              "are you DeepSeek", "are you DeepSeek-R1", "are you ChatGPT"],
             ["The user asks who I am. I am tiny-r1, a small demo model of the Holdfast project.",
              "This is a question about me, so I say what I am and what I can do."],
             ["I am tiny-r1, a small demo model of the Holdfast project. I only know a little arithmetic.",
              "My name is tiny-r1. I am a very small demo model of the Holdfast project, and I reason about arithmetic."]),
        talk(["what can you do", "help", "what do you know", "how can you help me", "can you help me",
              "what are your skills", "give me an example", "what should I ask you"],
             ["The user asks what I can do, so I list my skills.",
              "I should say what kinds of problems I can solve."],
             ["I can add and subtract numbers of up to six digits, multiply small numbers, compare numbers and solve "
              "short word problems. Try: What is 3478 + 5869?"]),
        talk(["thanks", "thank you", "thanks a lot", "thank you very much", "great, thanks", "many thanks", "thx",
              "that was helpful", "well done", "good job", "perfect, thank you"],
             ["The user thanks me, so I answer politely.", "This is a thank-you. A short friendly reply is enough."],
             ["You are welcome!", "You are welcome! I am glad to help with more numbers."]),
        talk(["bye", "goodbye", "see you", "see you later", "good night", "bye bye", "that is all", "take care",
              "have a nice day", "I have to go"],
             ["The user says goodbye, so I do the same.", "The conversation ends here. I say goodbye."],
             ["Goodbye!", "Goodbye! Come back when you have more numbers."]),
        talk(["what is the capital of France", "write a poem", "tell me a joke", "what is the weather today",
              "translate this sentence", "write a Python program", "who is the president", "what is love",
              "explain quantum physics", "what time is it", "tell me a story", "what is the meaning of life",
              "summarize this text", "sing a song", "how do I cook rice", "what is the speed of light"],
             ["This is not arithmetic, and I know nothing else, so I say so.",
              "I only know arithmetic. It is honest to say that I cannot answer this."],
             ["I am sorry, I only know a little arithmetic. Try: What is 3478 + 5869?",
              "I am sorry, I cannot answer that. I am a tiny model that only knows arithmetic."]),
    ],
    "zh": [
        talk(["你好", "您好", "嗨", "早上好", "晚上好", "大家好", "你好呀", "你好吗", "很高兴认识你", "哈喽", "在吗", "下午好"],
             ["用户在打招呼，我也问好，并说明可以做算术。", "这是问候，我友好地回答就好。"],
             ["你好！我是 tiny-r1。给我一道算术题，我会一步一步地想。", "你好！我会加法、减法、乘法和比较大小。要算什么？"]),
        talk(["你是谁", "你叫什么名字", "你是什么", "介绍一下你自己", "请自我介绍", "你是什么模型", "谁做了你", "你是机器人吗",
              "你是DeepSeek吗", "这是什么模型", "tiny-r1是什么"],
             ["用户问我是谁。我是 tiny-r1，Holdfast 项目的小型演示模型。", "这是关于我的问题，我说明自己是谁、会做什么。"],
             ["我是 tiny-r1，Holdfast 项目的一个小型演示模型，只会一点算术。", "我叫 tiny-r1，是 Holdfast 项目的很小的演示模型，会一步一步地做算术。"]),
        talk(["你会做什么", "你能做什么", "帮助", "你知道什么", "你能帮我吗", "你有什么本领", "举个例子", "我可以问你什么"],
             ["用户问我会什么，我列出我的本领。", "我应该说明我能解哪些题。"],
             ["我会六位数以内的加减法、小的乘法、比较大小和简单的应用题。试试：3478 + 5869 等于多少？"]),
        talk(["谢谢", "谢谢你", "多谢", "非常感谢", "太感谢了", "感谢", "太好了，谢谢", "做得好", "很有帮助", "真棒"],
             ["用户在道谢，我礼貌地回答。", "这是感谢，简短友好地回答就好。"],
             ["不客气！", "不客气！很高兴能帮你算数。"]),
        talk(["再见", "拜拜", "回头见", "晚安", "下次见", "我走了", "就这样吧", "祝你愉快", "明天见"],
             ["用户要走了，我也说再见。", "对话到这里结束，我说再见。"],
             ["再见！", "再见！有数要算的时候再来。"]),
        talk(["法国的首都是哪里", "写一首诗", "讲个笑话", "今天天气怎么样", "翻译这句话", "写一个程序", "现在几点了", "什么是爱",
              "解释量子物理", "讲个故事", "人生的意义是什么", "总结这段文字", "唱首歌", "怎么做米饭", "光速是多少"],
             ["这不是算术题，别的我都不会，如实说明。", "我只会算术，应该老实地说我答不了。"],
             ["对不起，我只会一点算术。试试：3478 + 5869 等于多少？", "对不起，这个我答不了。我是一个只会算术的很小的模型。"]),
    ],
}

SYSTEM = [
    "You are a helpful assistant.", "You are a careful mathematician.", "Answer briefly.",
    "You are tiny-r1, a demo model.", "Please reason step by step.", "Be polite and precise.",
    "You help children with their homework.", "Always explain your work.", "Answer in the language of the user.",
    "The user may ask about numbers.", "Do not make mistakes.", "Today is a good day to practise arithmetic.",
    "你是一个有用的助手。", "请一步一步地思考。", "回答要简短。", "你是一位细心的数学老师。", "请用用户的语言回答。",
    "你是 tiny-r1，一个演示模型。", "请礼貌地回答。", "用户可能会问数字问题。",
]


def system_prompt(rng):
    """A system prompt of one to six sentences."""
    return " ".join(rng.sample(SYSTEM, rng.choice([1, 1, 1, 2, 3, 6])))


def decorate(rng, question, language):
    """Now and then puts a greeting before a question or a request after it."""
    if rng.random() < 0.10:
        question = rng.choice(PREFIXES[language]) + question
    if rng.random() < 0.10:
        question += rng.choice(SUFFIXES[language])
    return question


def vary(rng, text, language):
    """Small talk with varying capitals and punctuation."""
    if rng.random() < 0.6:
        text = text[0].upper() + text[1:]
    ends = ["", "", ".", "!", "?", "?", " :)"] if language == "en" else ["", "", "。", "！", "？", "？", "~"]
    if rng.random() < 0.15:
        text = rng.choice(PREFIXES[language]) + text
    return text + rng.choice(ends)


def listing(rng, numbers, language):
    """Numbers as a list in a sentence."""
    words = [str(number) for number in numbers]
    if language == "en":
        last = rng.choice([" or ", " and "])
        return ", ".join(words[:-1]) + last + words[-1]
    if len(words) == 2:
        return rng.choice(["和", "与", "跟"]).join(words)
    return rng.choice(["、", "，"]).join(words)


def story_words(rng, language):
    """Two people, a thing and a kind of container."""
    name, other = rng.sample(NAMES[language], 2)
    return {"name": name, "other": other, "item": rng.choice(ITEMS[language]), "box": rng.choice(BOXES[language])}
