// Opt-in acceptance, not part of `npm test`: Claude Code, with Claude on Vertex AI behind the router.
// Run `npm run clients -- claude-code` in the root.
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'
import { programRuns } from '../programs.mjs'

const claude = path.join(import.meta.dirname, 'node_modules/.bin/claude')
await acceptance({
  provider: 'vertex',
  model: 'claude-sonnet-4-5',
  runs: programRuns({ ask: prompt => [claude, '-p', prompt], read: [claude, '-p'] }),
})
