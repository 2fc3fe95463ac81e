/** Closes an exhaustive `switch`: the compiler proves that no variant arrives here. */
export function unreachable(value: never): never {
  throw new TypeError(`Unexpected variant ${JSON.stringify(value)}`)
}
