import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { mintToken, send, startTestLab, type TestLab } from '../../test/support/lab.ts'

let testLab: TestLab
let token: string

before(async () => {
  testLab = await startTestLab()
  token = await mintToken(testLab)
})
after(() => testLab.lab.close())

test('embedding models take instances and refuse what is not Vertex’s', async () => {
  const place = '/v1/projects/demo-project/locations/us-east1/publishers/google/models'
  const instance = { content: 'one', task_type: 'CLUSTERING', title: 't' }
  const rows: readonly (readonly [model: string, body: unknown, status: number])[] = [
    ['text-embedding-005', { instances: [instance, { content: 'two' }] }, 200],
    ['gemini-embedding-001', { instances: [instance] }, 200],
    ['gemini-embedding-001', { instances: [instance, instance] }, 400],
    ['text-embedding-005', { instances: [] }, 400],
    ['text-embedding-005', { instances: Array.from({ length: 251 }, () => instance) }, 400],
    ['text-embedding-005', { instances: [{ text: 'one' }] }, 400],
    ['text-embedding-005', { instances: [{ ...instance, task_type: 'X' }] }, 400],
    ['text-embedding-005', { instances: [{ ...instance, surprise: 1 }] }, 400],
    ['text-embedding-005', { instances: [instance], model: 'x' }, 400],
    ['gemini-2.5-flash', { instances: [instance] }, 404],
  ]
  for (const [model, body, status] of rows) {
    const headers = [
      ['content-type', 'application/json'],
      ['authorization', `Bearer ${token}`],
    ] as const
    const url = `${testLab.lab.origin}${place}/${model}:predict`
    assert.equal((await send(url, { headers, body })).status, status, JSON.stringify(body))
  }
})
