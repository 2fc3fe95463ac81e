// The agent: curl, which finds the proxy and the certificate in the environment.
import { messagesByCommand } from '../messages-by-command.mjs'
import { converse } from '../scenarios.mjs'

const fields = ['content-type: application/json', 'x-api-key: placeholder']
const headers = fields.flatMap(field => ['-H', field])
const url = `${process.env.ANTHROPIC_BASE_URL}/v1/messages`
const flags = ['--silent', '--show-error', '--fail-with-body', '--no-buffer']
await converse(messagesByCommand(['curl', ...flags, ...headers, '--data-binary', '@-', url]))
