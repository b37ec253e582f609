"""What stock vLLM says of a checkpoint: run by an interpreter that has vLLM, and nothing of ours.

    python vllm_logits.py FOLDER REQUEST.json OUT.json

REQUEST has "rows" (lists of token ids), "new" and "top". OUT gets the greedy continuation of each row, and for each of
its tokens the log-probabilities of the "top" most probable ones.
"""

import json
import sys

from vllm import LLM, SamplingParams


def main(folder: str, request_path: str, out_path: str) -> None:
    with open(request_path, encoding="utf-8") as stream:
        request = json.load(stream)
    most = request["top"]
    llm = LLM(
        model=folder,
        dtype="float32",
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=4,
        max_logprobs=most,
    )
    settings = SamplingParams(
        temperature=0, max_tokens=request["new"], logprobs=request["top"], detokenize=False
    )
    outputs = llm.generate([{"prompt_token_ids": row} for row in request["rows"]], settings)
    found = []
    for output in outputs:
        answer = output.outputs[0]
        logprobs = [
            {str(token): entry.logprob for token, entry in place.items()} for place in answer.logprobs
        ]
        found.append({"answer": list(answer.token_ids), "logprobs": logprobs})
    with open(out_path, "w", encoding="utf-8") as stream:
        json.dump(found, stream)


if __name__ == "__main__":
    main(*sys.argv[1:])
