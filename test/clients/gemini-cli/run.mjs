// Opt-in acceptance, not part of `npm test`: Gemini CLI, with Gemini on Vertex AI behind the router. Run
// `npm run clients -- gemini-cli` in the root.
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'
import { programRuns } from '../programs.mjs'

const gemini = path.join(import.meta.dirname, 'node_modules/.bin/gemini')
const env = { GEMINI_CLI_TRUST_WORKSPACE: 'true' }
const runs = programRuns({ ask: prompt => [gemini, '-p', prompt], read: [gemini] })
await acceptance({
  provider: 'vertex',
  model: 'gemini-2.5-flash',
  runs: runs.map(run => ({ ...run, env })),
})
