/**
 * The part of DER (X.690) that a certificate needs, written and never read. Each function returns
 * one complete element: tag, length, content.
 */

/** A constructed SEQUENCE. */
export function sequence(...elements: readonly Uint8Array[]): Buffer {
  return element(0x30, Buffer.concat(elements))
}

/** A SET with one element, so that DER's ordering of elements does not arise. */
export function setOfOne(content: Uint8Array): Buffer {
  return element(0x31, content)
}

/** A non-negative INTEGER from its big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex(byte => byte !== 0)
  const magnitude = first === -1 ? Buffer.of(0) : bytes.subarray(first)
  const isNegative = (magnitude[0] ?? 0) >= 0x80
  return element(0x02, isNegative ? Buffer.concat([Buffer.of(0), magnitude]) : magnitude)
}

/** A BOOLEAN that is true; DER leaves a false default out. */
export const TRUE: Uint8Array = element(0x01, Buffer.of(0xff))

/** An OBJECT IDENTIFIER from its dotted text. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return element(0x06, Buffer.from([first * 40 + second, ...rest].flatMap(base128)))
}

/** A BIT STRING; `unusedBits` counts from the low end of the last byte. */
export function bitString(content: Uint8Array, unusedBits = 0): Buffer {
  return element(0x03, Buffer.concat([Buffer.of(unusedBits), content]))
}

/** An OCTET STRING. */
export function octetString(content: Uint8Array): Buffer {
  return element(0x04, content)
}

/** A UTF8String. */
export function utf8String(text: string): Buffer {
  return element(0x0c, Buffer.from(text, 'utf8'))
}

/** A time as RFC 5280 §4.1.2.5 wants it: UTCTime through 2049, GeneralizedTime after. */
export function time(atMs: number): Buffer {
  const digits = new Date(atMs).toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '')
  const isShort = digits < '2050'
  return element(isShort ? 0x17 : 0x18, Buffer.from(isShort ? digits.slice(2) : digits, 'latin1'))
}

/** A context-specific element `[number]`: constructed around elements, primitive around bytes. */
export function tagged(
  number: number,
  form: 'constructed' | 'primitive',
  content: Uint8Array,
): Buffer {
  return element(0x80 | (form === 'constructed' ? 0x20 : 0) | number, content)
}

function element(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(tag), lengthOf(content.length), content])
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length)
  const bytes: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return Buffer.from([0x80 | bytes.length, ...bytes])
}

function base128(value: number): readonly number[] {
  const groups = [value % 128]
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) {
    groups.unshift(0x80 | (rest % 128))
  }
  return groups
}
