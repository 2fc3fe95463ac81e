// Tokens of eight seconds turn over under load: 20 requests a second and five long streams for 40 s
// through the released gateway and router, with the lab as judge. `npm run bench -- turnover`
import { startSystem } from '../test/support/system.ts'

const TOKEN_LIFETIME_MS = 8_000
const LOAD_MS = 40_000
const REQUESTS_PER_SECOND = 20
const LONG_STREAMS = 5

const system = await startSystem({ tokenLifetimeMs: TOKEN_LIFETIME_MS })
await system.configure()
const { addresses } = await system.startRouter('bench')

function post(words: string, stream: boolean): Promise<Response> {
  return fetch(`${addresses.baseUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': 'anything' },
    body: JSON.stringify({
      ...{ model: 'any', max_tokens: 16, stream },
      messages: [{ role: 'user', content: words }],
    }),
  })
}

async function ask(): Promise<{ readonly status: number; readonly ms: number }> {
  const startedMs = performance.now()
  const response = await post('hi', false)
  await response.text()
  return { status: response.status, ms: performance.now() - startedMs }
}

const mintsBefore = system.lab.counts().mints
const startedMs = performance.now()
const streams = Array.from({ length: LONG_STREAMS }, async () => {
  const response = await post(`lab:events=${LOAD_MS / 100},interval=100ms`, true)
  return (await response.text()).includes('event: message_stop')
})
const asked: Promise<{ readonly status: number; readonly ms: number }>[] = []
while (performance.now() - startedMs < LOAD_MS) {
  asked.push(ask())
  await new Promise(resolve => setTimeout(resolve, 1_000 / REQUESTS_PER_SECOND))
}
const answers = await Promise.all(asked)
const whole = await Promise.all(streams)
const { mints, unauthorized, broken } = system.lab.counts()
await system.close()

const sorted = answers.map(answer => answer.ms).sort((a, b) => a - b)
const at = (share: number) => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 10) / 10
console.table([
  { figure: 'requests', value: answers.length },
  { figure: 'requests not answered 200', value: answers.filter(one => one.status !== 200).length },
  { figure: 'streams whole', value: `${whole.filter(Boolean).length} of ${LONG_STREAMS}` },
  { figure: '401 at the vendor', value: unauthorized },
  { figure: 'answers broken', value: broken },
  { figure: 'mints', value: mints - mintsBefore },
  { figure: 'request p50 / p99, ms', value: `${at(0.5)} / ${at(0.99)}` },
])
