// Opt-in acceptance, not part of `npm test`: curl, with Claude on Vertex AI behind the router.
// Run `npm run clients -- curl` in the root.
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'

const script = path.join(import.meta.dirname, 'agent.mjs')
await acceptance({
  provider: 'vertex',
  model: 'claude-sonnet-4-5',
  runs: [{ command: [process.execPath, script], expect: /✓ two token turnovers/ }],
})
