// Goal: faults meet the calls they were meant for, as often and as long as they should.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { createFaultList, type FaultSubject } from './fault-list.ts'
import { NO_EFFECT } from './faults.ts'

const VENDORS = ['google.token', 'vertex']

function setUp() {
  const clock = new FakeClock()
  const faults = createFaultList({ clock }, VENDORS)
  const take = (change: Partial<FaultSubject> = {}) =>
    faults.take({ vendorName: 'vertex', path: '/v1/x', isStream: () => false, ...change })
  return { clock, faults, take }
}

test('faults with counts form a script, oldest first', () => {
  const { faults, take } = setUp()
  faults.set('vertex status=503 count=2\n\nvertex status=429 count=1')
  assert.deepEqual(
    [take(), take(), take(), take()].map(effect => effect.status),
    [503, 503, 429, null],
  )
  assert.deepEqual(faults.list(), [])
})

test('a span ends on the monotonic clock', async () => {
  const { clock, faults, take } = setUp()
  faults.set('vertex status=500 for=1m')
  await clock.advance(59_999)
  assert.equal(take().status, 500)
  assert.deepEqual(
    faults.list().map(one => one.msLeft),
    [1],
  )
  await clock.advance(1)
  assert.equal(take(), NO_EFFECT)
})

test('a target is a vendor, a path prefix or everything', () => {
  const { faults, take } = setUp()
  const isHit = (target: string) => {
    faults.clear()
    faults.set(`${target} hang count=1`)
    return take().isHanging
  }
  assert.deepEqual(['vertex', 'google.token', '/v1/', '/v2/', '*'].map(isHit), [
    true,
    false,
    true,
    false,
    true,
  ])
})

test('break_after passes calls that do not stream, without counting them', () => {
  const { faults, take } = setUp()
  faults.set('vertex break_after=5 count=1')
  assert.equal(take(), NO_EFFECT)
  assert.equal(take({ isStream: () => true }).breakAfter, 5)
  assert.equal(take({ isStream: () => true }), NO_EFFECT)
})

test('clear takes what was named', () => {
  const { faults } = setUp()
  const texts = () => faults.list().map(one => one.text)
  faults.set('vertex hang\ngoogle.token hang')
  faults.set('vertex clear')
  assert.deepEqual(texts(), ['google.token hang'])
  faults.set(['vertex', 'hang'])
  faults.clear('google.token')
  assert.deepEqual(texts(), ['vertex hang'])
  faults.set('clear')
  assert.deepEqual(texts(), [])
})

test('one bad line and none is obeyed', () => {
  const { faults } = setUp()
  assert.throws(() => faults.set('vertex hang\nvertex nonsense'))
  assert.throws(() => faults.set('\n'))
  assert.deepEqual(faults.list(), [])
})
