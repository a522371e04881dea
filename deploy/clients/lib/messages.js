//! What a message says, read from a client's parts and from the rows of the history in the same shape.
//! Thoughts are left out: the history does not show them.

/** The parts that a user shall see: an abandoned step is hidden, up to the part that says so. */
export function visible(parts) {
  const shown = [];
  for (const part of parts) {
    if (part.type === 'data-retry') {
      shown.splice(shown.findLastIndex(({ type }) => type === 'step-start'));
    } else {
      shown.push(part);
    }
  }
  return shown;
}

export function textOf(message) {
  return (message?.parts ?? []).filter(({ type }) => type === 'text').map(({ text }) => text).join('');
}

const emptyStep = () => ({ text: '', calls: [] });

/** An answer of a tool is JSON as a text, on the wire as in the history. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const outcomeOf = (part) => parsed(part.state === 'output-error' ? part.errorText : part.output);

/** The steps of a client's message. */
export function stepsOfParts(parts) {
  const steps = [];
  for (const part of parts) {
    if (part.type === 'step-start') {
      steps.push(emptyStep());
    } else if (part.type === 'text') {
      steps.at(-1).text += part.text;
    } else if (part.type.startsWith('tool-')) {
      const name = part.type.slice('tool-'.length);
      steps.at(-1).calls.push({ id: part.toolCallId, name, input: part.input, outcome: outcomeOf(part) });
    } else if (part.type !== 'reasoning') {
      throw new Error(`a part that no step has: ${JSON.stringify(part)}`);
    }
  }
  return steps;
}

/** The steps of a turn in the history: an assistant's row is one, the tools' rows are its outcomes. */
export function stepsOfRows(rows) {
  const outcomes = new Map();
  for (const row of rows.filter(({ role }) => role === 'tool')) outcomes.set(row.tool_call_id, parsed(row.content));
  return rows
    .filter(({ role }) => role === 'assistant')
    .map((row) => ({
      text: row.content ?? '',
      calls: (row.tool_calls ?? []).map(({ id, function: call }) => ({
        id,
        name: call.name,
        input: JSON.parse(call.arguments),
        outcome: outcomes.get(id),
      })),
    }));
}
