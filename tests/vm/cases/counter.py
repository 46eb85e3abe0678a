"""An agent whose result tells whether its memory was ever lost or mixed up."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "e2e"))
from harness import MIB, agent_command

# Counts over memory of which no page is like another, so that what comes back from swap is looked at. Half way it
# waits, awake, for as long as there is a gate. Payload: {"mib", "gate"}.
COUNTER = agent_command("""
say({'type':'READY','protocol':1,'name':'counter'})
t=task()
size=t['payload']['mib']*1048576
block=bytearray(size)
for i in range(0,size,4096): block[i:i+8]=(i*2654435761%2**64).to_bytes(8,'little')
total=looks=0
for n in range(32):
 total+=sum(int.from_bytes(block[i:i+8],'little') for i in range((n%16)*4096,size,65536))
 while n==16 and os.path.exists(t['payload']['gate']):
  looks+=1
  say({'type':'PROGRESS','taskId':t['taskId'],'percent':50,'message':str(looks)})
  time.sleep(0.05)
say({'type':'COMPLETE','taskId':t['taskId'],'result':{'total':total}})
task()
""")


def counted(mib):
    size = mib * MIB
    return sum(sum(i * 2654435761 % 2**64 for i in range((n % 16) * 4096, size, 65536)) for n in range(32))
