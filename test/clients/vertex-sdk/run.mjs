// Opt-in acceptance, not part of `npm test`: Anthropic's client for Vertex AI, with a placeholder for
// Google's sign-in and Claude on Vertex AI behind the router. Run `npm run clients -- vertex-sdk` in
// the root.
import assert from 'node:assert/strict'
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'

const script = path.join(import.meta.dirname, 'agent.mjs')
const models = '/v1/projects/demo-project/locations/us-east1/publishers/anthropic/models'
await acceptance({
  provider: 'vertex',
  model: 'claude-sonnet-4-5',
  runs: [{ command: [process.execPath, script], expect: /✓ two token turnovers/ }],
  check({ calls }) {
    const served = new Set(calls.map(call => decodeURIComponent(call.path)))
    for (const wanted of [
      `${models}/claude-sonnet-4-5@20250929:rawPredict`,
      `${models}/claude-sonnet-4-5@20250929:streamRawPredict`,
      `${models}/count-tokens:rawPredict`,
    ]) {
      assert.ok(served.has(wanted), `Vertex was never asked at ${wanted}`)
    }
  },
})
