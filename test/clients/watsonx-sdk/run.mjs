// Opt-in acceptance, not part of `npm test`: IBM's own SDK with a placeholder token, and watsonx behind
// the router. Run `npm run clients -- watsonx-sdk` in the root.
import assert from 'node:assert/strict'
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'

const script = path.join(import.meta.dirname, 'agent.mjs')
const model = 'ibm/granite-3-3-8b-instruct'
await acceptance({
  provider: 'watsonx',
  model,
  runs: [{ command: [process.execPath, script], expect: /✓ two token turnovers/ }],
  async check({ lab, calls }) {
    const { ibm } = await (await fetch(`http://${lab}/lab/keys`)).json()
    for (const { id } of calls.filter(call => call.path.startsWith('/ml/'))) {
      const body = await (await fetch(`http://${lab}/lab/journal/${id}/body`)).json()
      assert.equal(body.model_id, model)
      assert.equal(body.project_id, ibm.WATSONX_PROJECT_ID)
    }
  },
})
