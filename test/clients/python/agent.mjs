// The agent: Python's standard library, which finds the proxy and the certificate in the environment.
import path from 'node:path'
import { messagesByCommand } from '../messages-by-command.mjs'
import { converse } from '../scenarios.mjs'

const script = path.join(import.meta.dirname, 'ask.py')
await converse(messagesByCommand(['python3', script]))
