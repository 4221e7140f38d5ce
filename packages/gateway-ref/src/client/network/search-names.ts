/**
 * The names to ask for, in their order, as resolvers do with `ndots:1`: one that has a dot is meant as it is first, one
 * that has none is meant inside a search domain first. A dot at its end says that it is complete.
 */
export function searchNames(name: string, domains: readonly string[]): readonly string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)]
  const searched = domains.map(domain => `${name}.${domain.replace(/^\.+|\.+$/g, '')}`)
  return name.includes('.') ? [name, ...searched] : [...searched, name]
}
