import assert from 'node:assert/strict'
import { test } from 'node:test'
import { awsMessage } from '../../../test/support/aws-event-stream.ts'
import { answerOf } from '../../../test/support/fake-exchange.ts'
import { UpstreamError } from '../exchange.ts'
import { headerValue } from '../rewrite.ts'
import { bedrockClaudeAnswer } from './bedrock-claude.ts'

const STREAM = ['content-type', 'application/vnd.amazon.eventstream', 'x-amzn-requestid', 'r']

function chunk(event: string): Buffer {
  const bytes = Buffer.from(event).toString('base64')
  const payload = JSON.stringify({ bytes, p: 'abcdef' })
  return awsMessage({ ':event-type': 'chunk', ':message-type': 'event' }, payload)
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const piece of body) chunks.push(piece)
  return Buffer.concat(chunks).toString()
}

test('frames become server-sent events, each with the bytes that Claude sent', async () => {
  const start = '{"type":"message_start","n":12345678901234567890}'
  const stop = '{\n"type":"message_stop"}'
  const answer = await bedrockClaudeAnswer(answerOf(200, STREAM, [chunk(start), chunk(stop)]))
  assert.equal(headerValue(answer.headers, 'content-type'), 'text/event-stream; charset=utf-8')
  assert.equal(headerValue(answer.headers, 'x-amzn-requestid'), 'r')
  assert.equal(
    await textOf(answer.body),
    `event: message_start\ndata: ${start}\n\nevent: message_stop\ndata: { "type":"message_stop"}\n\n`,
  )
})

test('a stream that ends before the message, or has an event of no form, is broken', async () => {
  const STREAMS = [[], [chunk('{"type":"ping"}')], [chunk('{}')], [chunk('no json')]]
  for (const chunks of STREAMS) {
    const { body } = await bedrockClaudeAnswer(answerOf(200, STREAM, chunks))
    await assert.rejects(textOf(body), UpstreamError)
  }
})

test('an exception in the stream becomes an error event', async () => {
  const ROWS = [
    ['throttlingException', 'rate_limit_error'],
    ['modelTimeoutException', 'timeout_error'],
    ['validationException', 'invalid_request_error'],
    ['serviceUnavailableException', 'overloaded_error'],
    ['modelStreamErrorException', 'api_error'],
  ] as const
  for (const [exception, type] of ROWS) {
    const headers = { ':message-type': 'exception', ':exception-type': exception }
    const frame = awsMessage(headers, '{"message":"Too much"}')
    const { body } = await bedrockClaudeAnswer(answerOf(200, STREAM, [frame]))
    const error = { type: 'error', error: { type, message: 'Too much' } }
    assert.equal(await textOf(body), `event: error\ndata: ${JSON.stringify(error)}\n\n`)
  }
  const frame = awsMessage({ ':message-type': 'error', ':error-message': 'Inside' }, '')
  const { body } = await bedrockClaudeAnswer(answerOf(200, STREAM, [frame]))
  assert.match(await textOf(body), /"message":"Inside"/)
})

test('an error of AWS is put into Anthropic’s words, with its status', async () => {
  const ROWS = [
    [400, '{"message":"Malformed"}', 'invalid_request_error', 'Malformed'],
    [403, '{"Message":"Not yours"}', 'permission_error', 'Not yours'],
    [404, '{"message":"No such model"}', 'not_found_error', 'No such model'],
    [429, '{"message":"Slow down"}', 'rate_limit_error', 'Slow down'],
    [503, '<html>', 'api_error', "The provider's API answered 503"],
  ] as const
  for (const [status, said, type, message] of ROWS) {
    const answer = await bedrockClaudeAnswer(
      answerOf(status, ['content-type', 'application/json', 'retry-after', '3'], [said]),
    )
    assert.equal(answer.status, status)
    assert.equal(headerValue(answer.headers, 'retry-after'), '3')
    assert.deepEqual(JSON.parse(await textOf(answer.body)), {
      type: 'error',
      error: { type, message },
    })
  }
})

test('a whole answer, and one that is compressed, pass untouched', async () => {
  const whole = answerOf(200, ['content-type', 'application/json'], ['{"type":"message"}'])
  assert.equal(await bedrockClaudeAnswer(whole), whole)
  const packed = answerOf(400, ['content-encoding', 'gzip'], ['?'])
  assert.equal(await bedrockClaudeAnswer(packed), packed)
})
