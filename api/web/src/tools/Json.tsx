// Any value, as it is.

export function Json({ value }: { value: unknown }) {
  return (
    <pre className="output" tabIndex={0}>
      {typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? '')}
    </pre>
  );
}
