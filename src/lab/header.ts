/** A header as it was sent; in what the lab received the name is in lower case. */
export type Header = readonly [name: string, value: string]

/** All values of one header, in the order received. */
export function headerValues(headers: readonly Header[], name: string): readonly string[] {
  return headers.filter(([key]) => key === name).map(([, value]) => value)
}

/** The headers of a request as node:http read them: names and values in turn, repeated ones kept. */
export function headersOf(rawHeaders: readonly string[]): readonly Header[] {
  const headers: Header[] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    headers.push([(rawHeaders[at] ?? '').toLowerCase(), rawHeaders[at + 1] ?? ''])
  return headers
}
