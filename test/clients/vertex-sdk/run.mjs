// Opt-in acceptance, not part of `npm test`: Anthropic's client for Vertex AI, with a placeholder for
// Google's sign-in, beside a router with a lab as Google Vertex AI. Run `npm install && npm run check`
// in this folder, after `npm run build` in the root.
import path from 'node:path'
import { besideLab } from '../beside-lab.mjs'

const script = path.join(import.meta.dirname, 'agent.mjs')
const project = 'projects/demo-project/locations/us-east1'
const place = { labPort: 17_786, gatewayPort: 17_776 }

await besideLab(place, async ({ lab, keyFile, openshell, agent, journal }) => {
  await openshell(
    ...['provider', 'add', '--type', 'vertex', '--name', 'my-vertex'],
    ...['--credential-file', `GOOGLE_SERVICE_ACCOUNT_JSON=${keyFile}`],
    ...['--config', `VERTEX_BASE_URL=http://${lab}/v1/${project}`],
  )
  await openshell('inference', 'set', '--provider', 'my-vertex', '--model', 'claude-sonnet-4-5')
  const { code } = await agent([process.execPath, script])
  const calls = await journal()
  if (code !== 0) throw new Error(`The agent ended with ${code}`)
  const models = `/v1/${project}/publishers/anthropic/models`
  const wanted = [
    `${models}/claude-sonnet-4-5@20250929:rawPredict`,
    `${models}/claude-sonnet-4-5@20250929:streamRawPredict`,
    `${models}/count-tokens:rawPredict`,
  ]
  const served = calls
    .filter(call => call.status === 200)
    .map(call => decodeURIComponent(call.path))
  const missing = wanted.filter(one => !served.includes(one))
  if (missing.length > 0) throw new Error(`Vertex was never asked at ${missing.join(', ')}`)
})
