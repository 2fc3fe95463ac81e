// An agent as someone else would write it: the official SDK, and nothing of ours.
import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic()
const request = {
  model: 'whatever-the-agent-believes',
  max_tokens: 64,
  messages: [{ role: 'user', content: 'hi' }],
}
const message = await client.messages.create(request)
const stream = client.messages.stream(request)
let streamed = ''
stream.on('text', text => {
  streamed += text
})
const final = await stream.finalMessage()
const counted = await client.messages.countTokens({
  model: request.model,
  messages: request.messages,
})
process.stdout.write(
  `${JSON.stringify({
    unstreamed: message.content[0].text,
    streamed,
    stopReason: final.stop_reason,
    inputTokens: counted.input_tokens,
    environment: process.env,
  })}\n`,
)
