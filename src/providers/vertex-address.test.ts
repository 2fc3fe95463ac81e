// Goal: a location or base URL that a person configures can never send a Google token elsewhere.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../core/errors.ts'
import { resolveVertexAddress, vertexHost } from './vertex-address.ts'

const EAST = 'https://us-east1-aiplatform.googleapis.com'

function resolve(baseUrl: string, project = '', location = '', allowList: readonly string[] = []) {
  return resolveVertexAddress({ baseUrl, project, location }, allowList)
}

test('each location has its host', () => {
  const cases = [
    ['us-east5', 'us-east5-aiplatform.googleapis.com'],
    ['europe-west1', 'europe-west1-aiplatform.googleapis.com'],
    ['northamerica-northeast1', 'northamerica-northeast1-aiplatform.googleapis.com'],
    ['global', 'aiplatform.googleapis.com'],
    ['us', 'aiplatform.us.rep.googleapis.com'],
    ['eu', 'aiplatform.eu.rep.googleapis.com'],
  ] as const
  for (const [location, host] of cases) {
    assert.equal(vertexHost(location), host)
    assert.equal(resolve('', 'my-project', location).origin, `https://${host}`)
  }
})

test('a base URL may be the host or any prefix of a model’s path', () => {
  const full = `${EAST}/v1/projects/my-project/locations/us-east1`
  const cases: readonly (readonly [baseUrl: string, project: string, location: string])[] = [
    [full, 'my-project', 'us-east1'],
    [`${full}/`, 'my-project', 'us-east1'],
    [`${full}/publishers/anthropic/models`, 'my-project', 'us-east1'],
    [`${full}/publishers/anthropic/models/claude-3-7-sonnet:rawPredict`, 'my-project', 'us-east1'],
    [full.replace('/v1/', '/v1beta1/'), 'my-project', 'us-east1'],
    [full.replace('https://', ''), 'my-project', 'us-east1'],
    [full.replace('https://us', 'HTTPS://US'), 'my-project', 'us-east1'],
    [full.replace('.com/', '.com:443/'), 'my-project', 'us-east1'],
    [`${EAST}/v1/projects/my-project/locations/`, 'my-project', 'us-east1'],
    [`${EAST}/v1/projects/my-project/locations`, 'my-project', 'us-east1'],
    [`${EAST}/v1/projects/my-project`, 'my-project', 'us-east1'],
    [`${EAST}/v1/projects/123456789012`, '123456789012', 'us-east1'],
    [`${EAST}/v1/projects/example.com:my-project`, 'example.com:my-project', 'us-east1'],
    [`${EAST}/v1/projects/`, 'configured', 'us-east1'],
    [`${EAST}/v1/projects`, 'configured', 'us-east1'],
    [`${EAST}/v1/`, 'configured', 'us-east1'],
    [`${EAST}/`, 'configured', 'us-east1'],
    [EAST, 'configured', 'us-east1'],
    ['us-east1-aiplatform.googleapis.com', 'configured', 'us-east1'],
    ['https://aiplatform.googleapis.com', 'configured', 'global'],
    ['https://aiplatform.eu.rep.googleapis.com/v1', 'configured', 'eu'],
  ]
  for (const [baseUrl, project, location] of cases) {
    const found = resolve(baseUrl, 'configured')
    assert.deepEqual([found.project, found.location], [project, location], baseUrl)
    assert.equal(found.origin, `https://${vertexHost(location)}`)
  }
})

test('without a base URL, project and location come from their own keys', () => {
  assert.deepEqual(resolve('', 'my-project'), {
    origin: 'https://us-central1-aiplatform.googleapis.com',
    project: 'my-project',
    location: 'us-central1',
  })
})

test('an allowed host of another name takes any location', () => {
  const allowList = ['127.0.0.1:8080', 'vertex.internal.example']
  assert.deepEqual(resolve('http://127.0.0.1:8080', 'my-project', 'eu', allowList), {
    origin: 'http://127.0.0.1:8080',
    project: 'my-project',
    location: 'eu',
  })
  const proxied = resolve('https://vertex.internal.example:8443/v1', 'my-project', '', allowList)
  assert.equal(proxied.origin, 'https://vertex.internal.example:8443')
  assert.equal(proxied.location, 'us-central1')
})

test('anything that is not Vertex is refused', () => {
  const cases: readonly (readonly [code: string, baseUrl: string, location?: string])[] = [
    ['endpoint_forbidden', 'https://us-east1-aiplatform.googleapis.com.evil.com'],
    ['endpoint_forbidden', 'https://evil.com/us-east1-aiplatform.googleapis.com'],
    ['endpoint_forbidden', 'https://evil-aiplatform.googleapis.com'],
    ['endpoint_forbidden', 'https://us-east1.evil.com-aiplatform.googleapis.com'],
    ['endpoint_forbidden', 'https://global-aiplatform.googleapis.com'],
    ['endpoint_forbidden', 'https://storage.googleapis.com'],
    ['endpoint_forbidden', 'https://us-east1-aiplatform.googleapis.com.'],
    ['endpoint_forbidden', `${EAST}:8443`],
    ['endpoint_forbidden', EAST.replace('https', 'http')],
    ['endpoint_forbidden', 'http://169.254.169.254/computeMetadata/v1/'],
    ['endpoint_forbidden', 'http://metadata.google.internal'],
    ['endpoint_forbidden', 'http://127.0.0.1:8080'],
    ['endpoint_forbidden', 'https://127.0.0.1'],
    ['endpoint_forbidden', 'https://2130706433'],
    ['endpoint_forbidden', 'https://[::1]'],
    ['endpoint_forbidden', 'https://10.0.0.1'],
    ['endpoint_forbidden', '//evil.com'],
    ['endpoint_forbidden', 'file:/etc/passwd'],
    ['endpoint_forbidden', 'ftp://us-east1-aiplatform.googleapis.com'],
    ['invalid_config', 'file:///etc/passwd'],
    ['invalid_config', 'https://user:pass@us-east1-aiplatform.googleapis.com'],
    ['invalid_config', 'https://us-east1-aiplatform.googleapis.com@evil.com'],
    ['invalid_config', `${EAST}?x=https://evil.com`],
    ['invalid_config', `${EAST}/v1#fragment`],
    ['invalid_config', 'https://'],
    ['invalid_config', 'not a url'],
    ['invalid_config', `${EAST}\\@evil.com`],
    ['invalid_config', `${EAST}/v2/projects/my-project`],
    ['invalid_config', `${EAST}/v1/publishers/anthropic`],
    ['invalid_config', `${EAST}/v1/projects/my-project/locations/europe-west1`],
    ['invalid_config', `${EAST}/v1/projects/my-project/locations/us-east1.evil.com`],
    ['invalid_config', EAST, 'europe-west1'],
    ['invalid_config', 'https://aiplatform.googleapis.com', 'us-east1'],
  ]
  for (const [code, baseUrl, location] of cases) {
    assert.throws(
      () => resolve(baseUrl, 'my-project', location),
      (error: unknown) => error instanceof AppError && error.code === code,
      baseUrl,
    )
  }
})

test('a location or project that would change the URL is refused', () => {
  const locations = [
    'us-east1.evil.com',
    'us-east1/',
    'us-east1.evil.com/',
    'evil.com/',
    '..',
    'US-EAST1',
  ]
  for (const location of [
    ...locations,
    'us-east1#',
    'us east1',
    'us-east',
    'us-east1@evil',
    '%2e%2e',
  ]) {
    assert.throws(() => resolve('', 'my-project', location), { code: 'invalid_config' }, location)
  }
  const projects = [
    '',
    'a',
    '../evil',
    'my/project',
    'my-project?',
    'my project',
    '-bad-name',
    '%2e%2e',
  ]
  for (const project of [...projects, 'my-project-', 'x'.repeat(31), 'évil-project', '123']) {
    assert.throws(() => resolve('', project, 'us-east1'), { code: 'invalid_config' }, project)
  }
})
