// Goal: the light cancellation behaves as an `AbortSignal` does wherever both may stand. Method: the
// same steps on both.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { abortSignalOf, Cancellation, type CancelSignal } from './cancellation.ts'

const KINDS: Readonly<
  Record<string, () => { readonly signal: CancelSignal; readonly abort: (reason: unknown) => void }>
> = {
  AbortController() {
    const controller = new AbortController()
    return { signal: controller.signal, abort: reason => controller.abort(reason) }
  },
  Cancellation() {
    const cancellation = new Cancellation()
    return { signal: cancellation, abort: reason => cancellation.abort(reason) }
  },
}

for (const [name, make] of Object.entries(KINDS)) {
  test(`${name}: listeners hear once, in order, and not when they were taken away`, () => {
    const { signal, abort } = make()
    const heard: string[] = []
    const first = (): void => void heard.push('first')
    const second = (): void => void heard.push('second')
    const third = (): void => void heard.push('third')
    for (const listener of [first, second, third, first]) {
      signal.addEventListener('abort', listener, { once: true })
    }
    signal.removeEventListener('abort', second)
    signal.removeEventListener('abort', () => {})
    assert.deepEqual([signal.aborted, signal.reason, heard], [false, undefined, []])
    abort('one')
    abort('two')
    assert.deepEqual([signal.aborted, signal.reason, heard], [true, 'one', ['first', 'third']])
    signal.addEventListener('abort', second)
    assert.equal(heard.length, 2)
  })

  test(`${name}: a real signal of it aborts with it, before and behind`, () => {
    const { signal, abort } = make()
    const real = abortSignalOf(signal)
    assert.equal(abortSignalOf(signal), real)
    assert.equal(real.aborted, false)
    abort('why')
    assert.deepEqual([real.aborted, real.reason], [true, 'why'])
    const late = make()
    late.abort('before')
    assert.deepEqual(
      [abortSignalOf(late.signal).aborted, abortSignalOf(late.signal).reason],
      [true, 'before'],
    )
  })
}

test('a signal of an unknown kind is none', () => {
  const foreign = { aborted: false, reason: 0, addEventListener() {}, removeEventListener() {} }
  assert.throws(() => abortSignalOf(foreign), TypeError)
})
