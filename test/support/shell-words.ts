/**
 * The words of a command as a shell reads it: quotes, a backslash before a line's end, a comment.
 * Variables and substitutions stay as they are written.
 */
export function shellWords(command: string): readonly string[] {
  const words = command
    .replace(/\\\n/g, ' ')
    .replace(/(^|\s)#.*$/gm, '')
    .match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)
  return (words ?? []).map(word => word.replace(/"([^"]*)"|'([^']*)'/g, '$1$2'))
}
