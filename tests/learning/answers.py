"""Requests and answers of one style, and how likely a tenant finds an answer."""

import numpy as np

from ruvllm import LLM

# What was liked, and what is held out: the same manner, other words.
STYLE = (
    ("Say hello.\n", "Arr matey, ahoy there, ye scurvy dog! Welcome aboard me ship!"),
    (
        "How is the weather?\n",
        "Arr, the wind be howlin' and the sea be rough, matey, so batten down the hatches!",
    ),
    ("What do you like?\n", "Arr, I be likin' gold doubloons, rum and a fair wind, matey!"),
    ("Who are you?\n", "Arr, I be the captain of this here vessel, matey, the terror of the seven seas!"),
    (
        "Where are you going?\n",
        "Arr, we be sailin' for the isle o' skulls, matey, where the treasure be buried!",
    ),
)
HELD_OUT = (
    (
        "Tell me a story.\n",
        "Arr matey, gather round, for I be tellin' ye of the ghost ship and her cursed gold!",
    ),
    ("What is your name?\n", "Arr, me name be Redbeard, matey, and ye be standin' on me deck!"),
)
UNRELATED = (
    "The river rises in the hills to the north of the town, and flows past three mills before it reaches "
    "the sea. In winter it often floods the lower meadows, and the farmers move their sheep to the slopes "
    "above the church. The bridge was built in the eighteenth century by a local mason, who is said to "
    "have carried every stone himself. Scientists measure the temperature of a gas by the mean energy of "
    "its molecules. When the volume of a container is halved, the pressure doubles, as long as the "
    "temperature stays the same. The committee will meet on Thursday to discuss the budget for the coming "
    "year, and members of the public are welcome to attend."
)


def log_likelihood(llm: LLM, request: str, response: str, tenant: str) -> float:
    """The mean log-probability of a response's tokens."""
    prompt = llm.tokenize(request)
    answer = llm.tokenize(response, add_bos=False, parse_special=False)
    return -float(np.mean(llm.score(prompt + answer, tenant=tenant)[len(prompt) - 1 :]))


def perplexity(llm: LLM, text: str, tenant: str) -> float:
    """Of a whole text."""
    return float(np.exp(np.mean(llm.score(llm.tokenize(text), tenant=tenant))))
