"""Salt's modules, loaded as salt-call --local loads them: a line of JSON in, [function, arguments, named arguments]; a
line of JSON out, what the function has returned, or its error. The argument is the module that manages services."""

import json
import logging
import sys

import salt.client
import salt.config

logging.disable(logging.CRITICAL)
options = salt.config.minion_config(None)
options.update(file_client="local", master_type="disable", providers={"service": sys.argv[1]})
options.update(root_dir="/tmp/salt", cachedir="/tmp/salt/cache", pki_dir="/tmp/salt/pki", sock_dir="/tmp/salt/run")
caller = salt.client.Caller(mopts=options)
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    function, arguments, named = json.loads(line)
    try:
        answer = caller.cmd(function, *arguments, **named)
    except Exception as error:  # pylint: disable=broad-except
        answer = {"error": str(error)}
    print(json.dumps(answer), file=answers, flush=True)
