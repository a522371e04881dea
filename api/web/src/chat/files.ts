// Files that the user attaches, as the AI SDK sends them: data URLs in the message.

import type { FileUIPart } from 'ai';

/** What goes into one message. The API takes bodies of up to 32 MiB, and a data URL is a third longer than its file. */
export const MOST_FILES = 20;
export const MOST_BYTES = 20 * 1024 * 1024;

function urlOf(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

export async function attach(files: readonly File[], already: readonly FileUIPart[]): Promise<FileUIPart[]> {
  if (already.length + files.length > MOST_FILES) throw new Error(`A message takes ${MOST_FILES} files at most.`);
  const bytes = files.reduce((sum, { size }) => sum + size, 0) + already.reduce((sum, { url }) => sum + url.length * 0.75, 0);
  if (bytes > MOST_BYTES) throw new Error('Together these files are larger than 20 MB.');
  return Promise.all(
    files.map(async (file) => ({
      type: 'file' as const,
      filename: file.name,
      mediaType: file.type || 'application/octet-stream',
      url: await urlOf(file),
    })),
  );
}
