// Opt-in acceptance, not part of `npm test`: Google's Gen AI SDK, with Gemini on Vertex AI behind the
// router. Run `npm run clients -- google-genai` in the root.
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'

const script = path.join(import.meta.dirname, 'agent.mjs')
await acceptance({
  provider: 'vertex',
  model: 'gemini-2.5-flash',
  runs: [{ command: [process.execPath, script], expect: /✓ two token turnovers/ }],
})
