// What every library's agent does beside a router: whole answers, streams, tool calls, a context of
// 2 MB, an answer left in the middle, and a session that outlives two tokens.
import assert from 'node:assert/strict'

const CONTEXT = `${'All work and no play makes the context long. '.repeat(46_000)}The end.`
/** Longer than two lives of a token. */
const LONG_STREAM = { events: 200, intervalMs: 100 }
const PAUSE_MS = 500

/**
 * Runs the scenarios over a client: `whole(prompt)` answers a text, `stream(prompt, signal)` iterates
 * over pieces of text, `tool(prompt)` and `streamedTool(prompt)` answer `{ name, input }` of the tool
 * that was called; a client without tools leaves the two out. The tool offered is `get_weather` with a
 * required string `city`.
 */
export async function converse(client) {
  await scenario('unstreamed', async () => {
    assert.match(await client.whole('Say hello'), /You said: Say hello/)
  })
  await scenario('streamed', () => streamed(client, { events: 40, intervalMs: 25 }))
  if (client.tool !== undefined) {
    await scenario('tool calls', async () => {
      const call = { name: 'get_weather', input: { city: 'lab' } }
      assert.deepEqual(await client.tool('lab:tool'), call)
      assert.deepEqual(await client.streamedTool('lab:tool'), call)
    })
  }
  await scenario('2 MB of context', async () => {
    assert.match(await client.whole(CONTEXT), /You said: All work/)
  })
  await scenario('left in the middle', () => leftInTheMiddle(client))
  await scenario('two token turnovers', () => overTurnovers(client))
}

/** A tool as the libraries' own types wrap it. */
export const WEATHER = {
  name: 'get_weather',
  description: 'The weather in a city',
  schema: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
}

async function scenario(name, run) {
  await run()
  process.stdout.write(`✓ ${name}\n`)
}

async function streamed(client, { events, intervalMs }) {
  const script = `lab:events=${events},interval=${intervalMs}ms,size=8`
  const pieces = await Array.fromAsync(client.stream(script, new AbortController().signal))
  const expected = Array.from({ length: events }, (_, index) => `${index} `.padEnd(8, '.'))
  assert.equal(pieces.join(''), expected.join(''))
  assert.ok(pieces.length > events / 2, 'the answer came in few pieces')
}

async function leftInTheMiddle(client) {
  const controller = new AbortController()
  let pieces = 0
  try {
    for await (const _ of client.stream('lab:events=2000,interval=25ms', controller.signal)) {
      pieces += 1
      if (pieces === 5) controller.abort()
    }
  } catch (error) {
    // Libraries differ in whether an abort ends their stream or throws.
    if (!controller.signal.aborted) throw error
  }
  assert.ok(pieces >= 5 && pieces < 100, `${pieces} pieces came`)
  assert.match(await client.whole('Go on'), /You said: Go on/)
}

/** One stream lives through both turnovers while short questions go on beside it. */
async function overTurnovers(client) {
  let isOver = false
  const long = streamed(client, LONG_STREAM).finally(() => {
    isOver = true
  })
  while (!isOver) {
    assert.match(await client.whole('Still there?'), /You said: Still there/)
    await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
  }
  await long
  assert.match(await client.whole('And now?'), /You said: And now/)
}
