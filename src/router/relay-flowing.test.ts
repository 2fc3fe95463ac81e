// Goal: what is pushed ends as what is pulled does, and is never held longer than the call that tells
// of it. Method: the real data path between a body and a response that are pushed by hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agentRequest, HeardAnswer, routeOf, until } from '../../test/support/fake-exchange.ts'
import { SSE_HEAD, summary, world } from '../../test/support/router-world.ts'
import type { BodySink, FlowingBody, FlowingResponse } from './exchange.ts'
import { forward } from './forward.ts'

class HandBody implements FlowingBody {
  sink: BodySink | null = null
  readonly asked: string[] = []

  flowInto(sink: BodySink): void {
    this.sink = sink
  }

  pause(): void {
    this.asked.push('pause')
  }

  resume(): void {
    this.asked.push('resume')
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    throw new Error('it is pushed')
  }

  /** Pushes text in memory that is used for something else right behind the call. */
  push(text: string): void {
    const bytes = Buffer.from(text)
    this.sink?.bytes(bytes)
    bytes.fill('!')
  }
}

class PushedAnswer extends HeardAnswer implements FlowingResponse {
  isFull = false
  listener: () => void = () => {}

  push(bytes: Uint8Array): boolean {
    this.text += Buffer.from(bytes).toString()
    return !this.isFull
  }

  complete(status: number, headers: readonly string[], pieces: readonly Uint8Array[]): boolean {
    if (this.isFull) return false
    this.start(status, headers)
    for (const piece of pieces) this.push(piece)
    this.ending = 'clean'
    return true
  }

  onRoom(listener: () => void): void {
    this.listener = listener
  }
}

async function flowing(headers: readonly string[] = SSE_HEAD) {
  const body = new HandBody()
  const { deps, clock } = world({
    routes: [routeOf()],
    script: async ({ signal }) => {
      signal.addEventListener('abort', () => body.sink?.fail(new Error('cancelled')))
      return { status: 200, headers, body }
    },
  })
  const { request, leave } = agentRequest()
  const heard = new PushedAnswer()
  const done = forward(deps, request, heard)
  await until(() => body.sink !== null)
  return { body, heard, leave, done, clock }
}

test('pushed bytes pass within the call, and the end ends the answer', async () => {
  const { body, heard, done, clock } = await flowing()
  body.push('data: 1\n\n')
  assert.equal(heard.text, 'data: 1\n\n')
  body.push('data: 2\n\n')
  body.sink?.end()
  assert.equal(summary(await done), 'answered 200')
  assert.deepEqual([heard.text, heard.ending], ['data: 1\n\ndata: 2\n\n', 'clean'])
  assert.equal(clock.sleepers, 0)
})

test('an agent that takes no more pauses the upstream, whose silence then counts for nothing', async () => {
  const { body, heard, done, clock } = await flowing()
  heard.isFull = true
  body.push('data: 1\n\n')
  assert.deepEqual(body.asked, ['pause'])
  await clock.advance(1_000_000)
  assert.equal(heard.ending, 'open')
  heard.isFull = false
  heard.listener()
  assert.deepEqual(body.asked, ['pause', 'resume'])
  body.sink?.end()
  assert.equal(summary(await done), 'answered 200')
})

test('an upstream that falls silent for 120 s is cut off, with an event that says why', async () => {
  const { body, heard, done, clock } = await flowing()
  await clock.advance(119_999)
  body.push('data: 1\n\n')
  await clock.advance(119_999)
  assert.equal(heard.ending, 'open')
  await clock.advance(1)
  assert.equal(summary(await done), 'broken 200 upstream_timeout')
  assert.match(heard.text, /^data: 1\n\n\n*event: error\n[\s\S]*120 s/)
  assert.equal(heard.ending, 'destroyed')
})

test('a pushed answer that breaks off is broken, without an event where none may be', async () => {
  for (const [headers, expected] of [
    [SSE_HEAD, /event: error/],
    [[...SSE_HEAD, 'content-encoding', 'gzip'], /^data$/],
    [['content-type', 'application/json'], /^data$/],
  ] as const) {
    const { body, heard, done } = await flowing(headers)
    body.push('data')
    body.sink?.fail(new Error('reset'))
    assert.equal(summary(await done), 'broken 200 upstream_broken')
    assert.match(heard.text, expected)
    assert.equal(heard.ending, 'destroyed')
  }
})

test('an agent that leaves abandons what is pushed', async () => {
  const { body, heard, leave, done, clock } = await flowing()
  body.push('data: 1\n\n')
  leave()
  assert.equal(summary(await done), 'abandoned 0')
  assert.equal(heard.ending, 'destroyed')
  assert.equal(clock.sleepers, 0)
})
