"""Evaluates code for the capsule. Requests and answers are JSON-RPC messages, one a line."""

import ast, contextlib, io, json, os, signal, sys, traceback


def evaluate(code, names):
    """Runs the code, and returns the value of its last line if that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<eval>", "exec"), names)
    return last and eval(compile(ast.Expression(last.value), "<eval>", "eval"), names)


def answer(code, names):
    output = io.StringIO()
    value = error = None
    try:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                value = evaluate(code, names)
        finally:
            # An interrupt that comes between two evaluations must not end the session.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except BaseException as caught:  # KeyboardInterrupt and SystemExit, too
        error = "".join(traceback.format_exception_only(type(caught), caught)).strip()
    return {"value": None if value is None else repr(value), "output": output.getvalue(), "error": error}


# The code gets other files as standard input and output, so that it cannot read a request or write into an answer.
requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
signal.signal(signal.SIGINT, signal.SIG_IGN)
names = {"__name__": "__main__"}
for line in requests:
    request = json.loads(line)
    result = answer(request["params"]["code"], names)
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), file=answers, flush=True)
