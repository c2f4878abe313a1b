package dev.sagaline;

import java.io.Serializable;
import java.lang.invoke.MethodType;
import java.lang.invoke.SerializedLambda;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.RecordComponent;

/** Finds out what a method reference refers to: a serializable one can tell. */
final class References {
  private static final String CONSTRUCTOR = "<init>";

  private References() {}

  /** The component whose accessor a reference like {@code Order::customer} names. */
  static RecordComponent component(Field<?, ?> field) {
    SerializedLambda told = told(field);
    Class<?> owner = classOf(told, field);
    if (owner.isRecord()) {
      for (RecordComponent component : owner.getRecordComponents()) {
        if (component.getName().equals(told.getImplMethodName())) {
          return component;
        }
      }
    }
    throw new DefinitionException("this selects no component of a record: give a method reference such as Order::customer");
  }

  /** The record whose own constructor a reference like {@code Order::new} names. */
  static Class<?> constructed(Serializable make) {
    SerializedLambda told = told(make);
    Class<?> owner = classOf(told, make);
    if (told.getImplMethodName().equals(CONSTRUCTOR) && owner.isRecord()) {
      RecordComponent[] components = owner.getRecordComponents();
      Class<?>[] types = new Class<?>[components.length];
      for (int i = 0; i < types.length; i++) {
        types[i] = components[i].getType();
      }
      String canonical = MethodType.methodType(void.class, types).toMethodDescriptorString();
      if (canonical.equals(told.getImplMethodSignature())) {
        return owner;
      }
    }
    throw new DefinitionException(
        "inputs are given by the constructor of their record, with all components, such as Order::new; the record must not be"
            + " declared inside a method");
  }

  static Object value(RecordComponent component, Object record) {
    try {
      Method accessor = component.getAccessor();
      accessor.setAccessible(true);
      return accessor.invoke(record);
    } catch (InvocationTargetException e) {
      throw new DefinitionException(component.getName() + " can't be read: " + e.getCause());
    } catch (ReflectiveOperationException | RuntimeException e) {
      throw new DefinitionException(component.getName() + " can't be read: " + e);
    }
  }

  private static SerializedLambda told(Serializable reference) {
    try {
      Method replace = reference.getClass().getDeclaredMethod("writeReplace");
      replace.setAccessible(true);
      if (replace.invoke(reference) instanceof SerializedLambda told) {
        return told;
      }
    } catch (ReflectiveOperationException | RuntimeException e) {
      throw new DefinitionException("give a method reference, such as Order::customer or Order::new: " + e);
    }
    throw new DefinitionException("give a method reference, such as Order::customer or Order::new");
  }

  private static Class<?> classOf(SerializedLambda told, Serializable reference) {
    String name = told.getImplClass().replace('/', '.');
    try {
      return Class.forName(name, false, reference.getClass().getClassLoader());
    } catch (ClassNotFoundException e) {
      throw new DefinitionException("there is no class " + name);
    }
  }
}
