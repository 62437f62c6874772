# Fetches the URL in argv[1]: the status on a line of its own, then the body.
import shutil
import sys
import urllib.error
import urllib.request

# The server is on this machine, whatever proxy the environment names.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    response = opener.open(sys.argv[1], timeout=10)
except urllib.error.HTTPError as error:
    response = error
except (OSError, ValueError) as error:
    sys.exit(str(error))
with response:
    sys.stdout.buffer.write(b"%d\n" % response.status)
    shutil.copyfileobj(response, sys.stdout.buffer)
