// Opt-in acceptance, not part of `npm test`: opencode, with Claude on Vertex AI behind the router. Run
// `npm run clients -- opencode` in the root.
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'
import { programRuns } from '../programs.mjs'

const opencode = path.join(import.meta.dirname, 'node_modules/.bin/opencode')
await acceptance({
  provider: 'vertex',
  model: 'claude-sonnet-4-5',
  runs: programRuns({ ask: prompt => [opencode, 'run', prompt], read: [opencode, 'run'] }),
})
