import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RouterError } from './errors.ts'
import { dialectOf, matchRequest } from './match.ts'

const VERTEX = '/projects/my-project/locations/us-east5/publishers/anthropic/models'
const GOOGLE = VERTEX.replace('anthropic', 'google')

function match(method: string, target: string): string {
  try {
    const { protocol, suffix, query } = matchRequest({ method, target, headers: [] })
    return [protocol, suffix, query].join(' ').trimEnd()
  } catch (error) {
    assert.ok(error instanceof RouterError)
    return `${error.status} ${error.code}${error.allow === '' ? '' : ` allow ${error.allow}`}`
  }
}

test('each pattern means its protocol, and the query is kept as sent', () => {
  const ROWS = [
    ['POST', '/v1/messages', 'anthropic_messages'],
    ['POST', '/v1/messages?beta=true', 'anthropic_messages  beta=true'],
    ['POST', '/v1/messages?', 'anthropic_messages'],
    ['POST', '/v1/messages?a=?b', 'anthropic_messages  a=?b'],
    ['POST', '/v1/messages/count_tokens', 'anthropic_count_tokens'],
    ['POST', '/v1/chat/completions', 'openai_chat_completions'],
    ['POST', '/v1/completions', 'openai_completions'],
    ['POST', '/v1/responses', 'openai_responses'],
    ['POST', '/v1/responses/compact', 'openai_responses_compact'],
    ['POST', '/v1/embeddings', 'openai_embeddings'],
    ['POST', '/ml/v1/text/chat?version=2025-02-11', 'watsonx_chat  version=2025-02-11'],
    ['POST', '/ml/v1/text/chat_stream', 'watsonx_chat_stream'],
    ['POST', '/ml/v1/text/embeddings', 'watsonx_embeddings'],
    ['POST', '/model/m/invoke', 'aws_bedrock_invoke'],
    ['POST', '/model/us.m-v1%3A0/invoke?a', 'aws_bedrock_invoke  a'],
    ['POST', '/model/m:0/invoke-with-response-stream', 'aws_bedrock_invoke_stream'],
    ['POST', '/model/arn%3Aaws%3Ax%2Fy/converse', 'aws_bedrock_converse'],
    ['POST', '/model/m/converse-stream', 'aws_bedrock_converse_stream'],
    ['POST', `/v1${VERTEX}/claude-x:rawPredict`, 'vertex_raw_predict'],
    ['POST', `${VERTEX}/claude-x@20250929:rawPredict?a`, 'vertex_raw_predict  a'],
    ['POST', `${VERTEX}/claude-x%4020250929:streamRawPredict`, 'vertex_stream_raw_predict'],
    ['POST', `/v1${VERTEX}/count-tokens:rawPredict`, 'vertex_count_tokens'],
    [
      'POST',
      `${VERTEX.replace('my-project', 'example.com:old')}/m:rawPredict`,
      'vertex_raw_predict',
    ],
    [
      'POST',
      `${VERTEX.replace('my-project', 'example.com%3Aold')}/m:rawPredict`,
      'vertex_raw_predict',
    ],
    ['POST', '/v1beta/models/gemini-2.5-flash:generateContent', 'gemini_generate_content'],
    ['POST', '/v1/models/g:generateContent?key=x', 'gemini_generate_content  key=x'],
    ['POST', '/v1alpha/models/g:streamGenerateContent', 'gemini_stream_generate_content'],
    [
      'POST',
      '/v1beta/models/g@1:streamGenerateContent?alt=sse',
      'gemini_stream_generate_content  alt=sse',
    ],
    ['POST', '/v1beta1/publishers/google/models/g%401:countTokens', 'gemini_count_tokens'],
    ['POST', `/v1beta1${GOOGLE}/g:generateContent`, 'gemini_generate_content'],
    ['POST', `/v1${GOOGLE}/g:streamGenerateContent`, 'gemini_stream_generate_content'],
    ['POST', '/v1beta/models/e:embedContent', 'gemini_embed_content'],
    ['POST', '/v1beta/models/e:batchEmbedContents', 'gemini_batch_embed_contents'],
    ['POST', `/v1${GOOGLE}/e:predict`, 'gemini_predict'],
    ['GET', '/v1beta/models?pageSize=50', 'gemini_model_discovery  pageSize=50'],
    ['GET', '/v1beta/models/gemini-2.5-flash', 'gemini_model_discovery /gemini-2.5-flash'],
    ['GET', '/v1/models', 'model_discovery'],
    ['GET', '/v1/models/gpt-5', 'model_discovery /gpt-5'],
    ['GET', '/v1/models/google/gemini-2.5:x@1', 'model_discovery /google/gemini-2.5:x@1'],
    ['GET', '/v1/models/google%2Fgemini?x', 'model_discovery /google%2Fgemini x'],
  ] as const
  for (const [method, target, expected] of ROWS) assert.equal(match(method, target), expected)
})

test('a known path with another method is 405 and says which one it takes', () => {
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'post']) {
    assert.equal(match(method, '/model/m/invoke'), '405 method_not_allowed allow POST')
    assert.equal(match(method, '/v1/messages'), '405 method_not_allowed allow POST')
    assert.equal(match(method, '/ml/v1/text/chat'), '405 method_not_allowed allow POST')
    assert.equal(match(method, `${VERTEX}/m:rawPredict`), '405 method_not_allowed allow POST')
    assert.equal(match(method, '/v1beta/models/g:countTokens'), '405 method_not_allowed allow POST')
  }
  for (const method of ['POST', 'HEAD', 'DELETE']) {
    assert.equal(match(method, '/v1/models/x'), '405 method_not_allowed allow GET')
    assert.equal(match(method, '/v1beta/models'), '405 method_not_allowed allow GET')
  }
})

test('no spelling of a path that another server might normalise is matched', () => {
  const ROWS = [
    ...[
      '/',
      '',
      '*',
      '/v1',
      '/v1/',
      '/messages',
      '/model/m',
      '/model//invoke',
      '/model/m/n/invoke',
      '/model/m/invoke/',
      '/model/m/count-tokens',
      '/model/m;x/invoke',
      '/v1/messages/',
      '//v1/messages',
      '/v1//messages',
    ],
    ...['/v1/./messages', '/v1/x/../messages', '/v1/%6dessages', '/v1%2Fmessages', '/V1/messages'],
    ...[
      '/v1/messages;x=1',
      '/v1/messages#x',
      '/v1/messages%3Fa',
      '/v1/messages\\',
      '/v1/messages%00',
    ],
    ...['https://inference.local/v1/messages', 'http://evil.test/v1/models', 'inference.local:443'],
    ...['/ml', '/ml/v1/text', '/ml/v1/text/chat/', '/ml/v1/text/chat%5fstream', '/ml/v4/text/chat'],
    ...['/ml/v1/text/generation', '/ml/v1/foundation_model_specs', '//ml/v1/text/chat'],
    ...['/v1/responses/resp_1', '/v1/responses/resp_1/cancel', '/v1/responses/'],
    ...['/v1/messages/batches', '/v1/files', '/v1/modelsx', '/v1/models/', '/v1/models//x'],
    ...[
      '/v1/models/..',
      '/v1/models/../files',
      '/v1/models/%2e%2e/files',
      '/v1/models/x/%2E%2e%2ffiles',
    ],
    ...[
      '/v1/models/.',
      '/v1/models/x;y',
      '/v1/models/x%3by',
      '/v1/models/%252e%252e',
      '/v1/models/%zz',
    ],
    ...[
      '/v1/models/x%00',
      '/v1/models/x%5c..',
      '/v1/models/x\\y',
      '/v1/models/x#y',
      '/v1/models/é',
    ],
    ...[
      'm',
      ':rawPredict',
      'm:rawpredict',
      'm:predict',
      'm:awPredict',
      'm:rawPredict:rawPredict',
      'm:rawPredict/',
      'm%3ArawPredict',
      'm:rawPredict;x',
      'm;x:rawPredict',
      '.:rawPredict',
      '..:rawPredict',
      '%2e%2e:rawPredict',
      'a/b:rawPredict',
      'a%2Fb:rawPredict',
      'a%2fb:rawPredict',
      'a%5Cb:rawPredict',
      'a%00:rawPredict',
      'a%252Fb:rawPredict',
      '../m:rawPredict',
      '/m:rawPredict',
      'count-tokens:streamRawPredict',
      'count-tokens',
    ].map(end => `/v1${VERTEX}/${end}`),
    ...[
      ['my-project', '..'],
      ['my-project', ''],
      ['my-project', 'a/b'],
      ['my-project', 'a%2Fb'],
      ['my-project', '%2e%2e'],
      ['us-east5', '..'],
      ['us-east5', ''],
      ['us-east5', 'a%2Fb'],
      ['publishers/anthropic', 'publishers/google'],
      ['publishers/anthropic', 'publishers/anthropic/..'],
      ['publishers', 'endpoints'],
      ['/projects', '/v2/projects'],
      ['/projects', '/v1/v1/projects'],
      ['/projects', '/v1beta1/projects'],
      ['/projects', '//projects'],
    ].map(([from = '', to = '']) => `${VERTEX.replace(from, to)}/m:rawPredict`),
  ]
  const GEMINI_ROWS = [
    ...['/v1beta', '/v1beta/modelsx', '/v1beta2/models/g:generateContent', '/v1beta//models'],
    ...['/v1beta1/models', '/v1alpha/models', `${GOOGLE}/g:generateContent`, '/v1beta/files'],
    ...[
      ...['g:generatecontent', 'g:rawPredict', 'g:computeTokens', 'g:generateContent/'],
      ...['g:generateContent:countTokens', 'a/b:generateContent', '../g:generateContent'],
      ...['a%2Fb:generateContent', '..:generateContent', '%2e:generateContent'],
    ].map(end => `/v1beta1${GOOGLE}/${end}`),
  ]
  for (const target of [...ROWS, ...GEMINI_ROWS]) {
    assert.equal(match('POST', target), '404 not_found', target)
    assert.equal(match('GET', target), '404 not_found', target)
  }
})

test('errors speak the dialect of the path, or else of the headers', () => {
  const ROWS = [
    ['/v1/messages', [], 'anthropic'],
    ['/v1/messages/count_tokens?x', [], 'anthropic'],
    ['/v1/chat/completions', ['anthropic-version', '1'], 'openai'],
    ['/model/m/invoke', [], 'aws'],
    [`${VERTEX}/m:streamRawPredict?x`, [], 'anthropic'],
    [`/v1${VERTEX}/count-tokens:rawPredict`, [], 'anthropic'],
    ['/ml/v1/text/chat_stream?version=1', [], 'watsonx'],
    ['/ml/v1/text/generation', ['anthropic-version', '1'], 'watsonx'],
    ['/mlx', [], 'openai'],
    ['/v1beta/models/g:generateContent?key=x', [], 'google'],
    ['/v1/models/g:countTokens', ['anthropic-version', '1'], 'google'],
    [`/v1beta1${GOOGLE}/g:streamGenerateContent`, [], 'google'],
    ['/v1beta/files', [], 'google'],
    ['/v1/models', ['X-Goog-Api-Key', 'k'], 'google'],
    ['/v1/elsewhere', ['x-goog-api-client', 'gl-node'], 'google'],
    ['/v1/responses?x', [], 'openai_responses'],
    ['/v1/responses/resp_1', [], 'openai'],
    ['/v1/models', [], 'openai'],
    ['/v1/models/x', ['Anthropic-Version', '2023-06-01'], 'anthropic'],
    ['/elsewhere', ['x', 'anthropic-version'], 'openai'],
    ['/elsewhere', ['x', 'y', 'anthropic-version', '1'], 'anthropic'],
  ] as const
  for (const [target, headers, expected] of ROWS) {
    assert.equal(dialectOf({ method: 'GET', target, headers }), expected, target)
  }
})

test('a list of models is asked for in the dialect of whoever asks', () => {
  for (const [headers, protocol] of [
    [['x-goog-api-key', 'k'], 'gemini_model_discovery'],
    [['anthropic-version', '1'], 'model_discovery'],
  ] as const) {
    assert.equal(
      matchRequest({ method: 'GET', target: '/v1/models/m', headers }).protocol,
      protocol,
    )
  }
})
