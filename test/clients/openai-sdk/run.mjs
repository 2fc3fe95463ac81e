// Opt-in acceptance, not part of `npm test`: OpenAI's SDK, with Azure OpenAI behind the router.
// Run `npm run clients -- openai-sdk` in the root.
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'

const script = path.join(import.meta.dirname, 'agent.mjs')
await acceptance({
  provider: 'azure',
  model: 'gpt-5.5',
  runs: [{ command: [process.execPath, script], expect: /✓ two token turnovers/ }],
})
