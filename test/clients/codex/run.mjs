// Opt-in acceptance, not part of `npm test`: Codex, with Azure OpenAI behind the router. Run
// `npm run clients -- codex` in the root.
import assert from 'node:assert/strict'
import path from 'node:path'
import { acceptance } from '../acceptance.mjs'
import { programRuns } from '../programs.mjs'

const codex = path.join(import.meta.dirname, 'node_modules/.bin/codex')
// For the model that it takes by itself it offers its tools in a way that only OpenAI knows.
const exec = [codex, 'exec', '--skip-git-repo-check', '-m', 'gpt-5.5']
/** Codex takes a million characters; these are two bytes each. */
const context = 'äöüß'.repeat(260_000)
await acceptance({
  provider: 'azure',
  model: 'gpt-5.5',
  runs: programRuns({ ask: prompt => [...exec, prompt], read: [...exec, '-'], context }),
  async check({ lab, calls }) {
    const asked = calls.filter(call => call.path.endsWith('/responses'))
    const bodies = asked.map(({ id }) => fetch(`http://${lab}/lab/journal/${id}/body`))
    const texts = await Promise.all(bodies.map(async body => (await body).text()))
    assert.ok(
      texts.some(text => text.includes('"function_call_output"')),
      'Codex ran no tool',
    )
  },
})
